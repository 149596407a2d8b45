"""`langgraph.json`, the file by which LangGraph's own server hosts an application, read unchanged."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cauce.langgraph_http import HttpPart, http_part
from schemas import SettingsError, TtlStrategy, is_id

_OF_THE_IMAGE = (
    *("$schema", "python_version", "node_version", "api_version", "base_image", "image_distro", "dockerfile_lines"),
    *("pip_config_file", "pip_installer", "keep_pkg_tools", "source", "internal_docker_tag", "_INTERNAL_docker_tag"),
)
"""What only concerns the image that LangGraph's command line builds, and its editors."""
_NOT_SERVED = {
    "store.index": "items of the store are found by namespace, key and filter, not by meaning",
    "store.ttl": "items of the store stay until they are deleted",
    "store.path": "items of the store are kept in Cauce's own",
    "checkpointer.path": "states are kept in Cauce's own store, with the turn",
    "checkpointer.serde": "states are written by LangGraph's serialiser as it comes",
    "http.mount_prefix": "the API is below /lg, or at the root of a port of its own (CAUCE_GATEWAY_LANGGRAPH_PORT)",
    "http.cors.allow_credentials": "pages of other origins send a key or a token; a browser's session is for our own pages",
    "http.configurable_headers": "headers of a request do not get into the config of its run",
    "http.logging_headers": "headers of a request are not logged",
    "ui": "there is no page for components of the application's own",
    "ui_config": "there is no page for components of the application's own",
    "webhooks": "a run calls nobody; follow its stream, or read chat.responses",
    "mcp": "graphs are not offered as tools over MCP",
    "a2a": "agents are not offered over A2A",
}
_REFUSED = {
    "auth.path": (
        "people sign in with Cauce's own API keys, OpenID access tokens or browser sessions (docs/gateway.md), and threads, runs "
        "and items are their user's alone. What the handlers in this file allow or forbid would not be asked: take `auth` out of "
        "the file to run without them"
    ),
    "encryption.path": "what is stored is not encrypted by a handler. Take `encryption` out of the file to run without it",
}
"""What must not be left out without its owner's word: somebody relies on it."""
_SERVED = (
    "graphs",
    "dependencies",
    "env",
    "http.app",
    "http.enable_custom_route_auth",
    "http.middleware_order",
    "http.disable_",
    "http.cors.",
    "checkpointer.ttl",
    "auth.disable_studio_auth",
    "auth.openapi",
    "auth.cache",
)
_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*('[^']*'|"(?:[^"\\]|\\.)*"|[^\n]*?)[ \t]*(?:(?<=\s)#[^\n]*)?$""",
    re.M,
)
"""A line of a .env file."""


@dataclass(frozen=True, slots=True)
class LangGraphFile:
    """What the file says. `graphs` are as in `[graphs]`, with absolute paths."""

    graphs: Mapping[str, str]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    """To import from; the file's own is the first."""
    env: Mapping[str, str] = field(default_factory=dict)
    http: HttpPart = field(default_factory=HttpPart)
    thread_ttl: tuple[float, TtlStrategy] | None = None
    """Minutes that threads live whose clients say nothing, and what happens to them then."""
    not_served: tuple[str, ...] = ()
    """Sentences about the parts that are not supported."""


def read_langgraph_file(path: Path) -> LangGraphFile:
    """Reads the file. Raises `SettingsError` for one that cannot be read, or asks for what must not be left out."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"the file {path} does not exist") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"the file {path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise SettingsError(f"the file {path} has to be a JSON object with `graphs`")
    _check_shapes(path, found)
    folder, notes = path.resolve().parent, list[str]()
    if asked := _newer_python(found.get("python_version")):
        notes.append(
            f"python_version of {path.name}: it asks for {asked}, and this is Python {sys.version_info[0]}.{sys.version_info[1]}"
        )
    for name in _names(found):
        if name in _REFUSED:
            raise SettingsError(f"{path} names {name}, which is not served: {_REFUSED[name]}")
        if name in _NOT_SERVED:
            notes.append(f"{name} of {path.name}: {_NOT_SERVED[name]}")
        elif not name.startswith((*_SERVED, *_OF_THE_IMAGE)):
            notes.append(f"{name} of {path.name}: nothing is known of it here")
    graphs, descriptions = _graphs(path, found.get("graphs"), folder, notes)
    folders = _dependencies(path, found.get("dependencies") or [], folder, notes)
    http = http_part(path, found.get("http") or {}, folder)
    env, ttl = _env(path, found.get("env"), folder), _thread_ttl(path, found, notes)
    return LangGraphFile(graphs, descriptions, folders, env, http, ttl, tuple(notes))


def _check_shapes(path: Path, found: Mapping[str, Any]) -> None:
    """Raises `SettingsError` where something of another kind stands than what is read here."""
    for name in ("store", "checkpointer", "http", "auth", "encryption"):
        if not isinstance(found.get(name) or {}, dict):
            raise SettingsError(f"{path}: {name} has to be an object, not {found[name]!r:.150}")


def _thread_ttl(path: Path, found: Mapping[str, Any], notes: list[str]) -> tuple[float, TtlStrategy] | None:
    """What `checkpointer.ttl` says. How often LangGraph's server looks has no meaning here: threads go when their time is up."""
    given = (found.get("checkpointer") or {}).get("ttl")
    if given is None:
        return None
    minutes, strategy = (
        (given.get("default_ttl"), given.get("strategy", "delete")) if isinstance(given, dict) else (0, 0)
    )
    if isinstance(minutes, bool) or not isinstance(minutes, int | float | None) or minutes == 0 or (minutes or 1) < 0:
        raise SettingsError(
            f"{path}: checkpointer.ttl.default_ttl has to be a number of minutes above 0, not {given!r:.150}"
        )
    if strategy not in ("delete", "keep_latest"):
        raise SettingsError(f"{path}: checkpointer.ttl.strategy has to be delete or keep_latest, not {strategy!r:.150}")
    if strategy == "keep_latest":
        notes.append(
            f"checkpointer.ttl of {path.name}: with the strategy keep_latest threads and their histories stay whole"
        )
        return None
    return None if minutes is None else (float(minutes), strategy)


def _newer_python(asked: object) -> str:
    """The version that the file asks for, if this Python is older than it."""
    found = re.fullmatch(r"(\d+)\.(\d+)", asked) if isinstance(asked, str) else None
    return found[0] if found and (int(found[1]), int(found[2])) > sys.version_info[:2] else ""


def _names(found: Mapping[str, Any]) -> Iterator[str]:
    """The settings of the file that say something, with dots."""
    for name, value in found.items():
        if name not in ("store", "checkpointer", "http", "auth", "encryption") or not isinstance(value, dict):
            if value not in (None, {}, [], False, ""):
                yield name
            continue
        for inner, deeper in value.items():
            if deeper in (None, {}, [], False, ""):
                continue
            if (name, inner) == ("http", "cors") and isinstance(deeper, dict):
                yield from (f"http.cors.{key}" for key, value in deeper.items() if value not in (None, False))
            else:
                yield f"{name}.{inner}"


def _graphs(path: Path, given: object, folder: Path, notes: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    if not isinstance(given, dict) or not given:
        raise SettingsError(f'{path} names no graphs: it needs "graphs": {{"name": "./file.py:object"}}')
    graphs, descriptions = dict[str, str](), dict[str, str]()
    for name, spec in given.items():
        at = spec.get("path") if isinstance(spec, dict) else spec
        if not is_id(name) or not isinstance(at, str) or not all(at.rpartition(":")):
            raise SettingsError(f"{path}: the graph {name!r:.150} has to be ./path/file.py:object or module:object")
        place, _, thing = at.rpartition(":")
        if place.endswith((".ts", ".js", ".mts", ".mjs", ".cts", ".cjs", ".tsx", ".jsx")):
            notes.append(
                f"the graph {name!r} ({at}) of {path.name}: it is JavaScript, and graphs in Python are hosted here"
            )
            continue
        is_file = place.endswith(".py")
        graphs[name] = f"{os.path.normpath(folder / place)}:{thing}" if is_file else at
        if isinstance(spec, dict) and isinstance(spec.get("description"), str):
            descriptions[name] = spec["description"]
    return graphs, descriptions


def _dependencies(path: Path, given: object, folder: Path, notes: list[str]) -> tuple[Path, ...]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise SettingsError(f"{path}: dependencies has to be a list of folders and of names of packages")
    folders = [folder]
    for name in given:
        if name.startswith((".", "/")):
            place = (folder / name).resolve()
            if not place.is_dir():
                raise SettingsError(f"{path}: the dependency {name!r} is no folder (looked for {place})")
            folders.append(place)
        elif not _is_installed(name):
            notes.append(
                f"the dependency {name!r} of {path.name}: it is not installed; install it with: pip install {name!r}"
            )
    return tuple(dict.fromkeys(folders))


def _is_installed(requirement: str) -> bool:
    name = re.split(r"[\s\[<>=!~;@]", requirement.strip(), maxsplit=1)[0]
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _env(path: Path, given: object, folder: Path) -> dict[str, str]:
    if given is None or isinstance(given, list):  # a list names variables that are to be there
        return {}
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in given.items()}
    if not isinstance(given, str):
        raise SettingsError(f"{path}: env has to be an object, or the path of a file with NAME=value in each line")
    try:
        text = (folder / given).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the file {given!r} of env cannot be read: {error}") from None
    return {name: _unquoted(value) for name, value in _LINE.findall(text)}


def _unquoted(value: str) -> str:
    if value[:1] == value[-1:] == "'" and len(value) > 1:
        return value[1:-1]
    if value[:1] == value[-1:] == '"' and len(value) > 1:
        escapes = {"n": "\n", "t": "\t", "r": "\r"}
        return re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), value[1:-1], flags=re.S)
    return value
