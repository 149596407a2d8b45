"""Reads `langgraph.json`, the file with which LangGraph's own server hosts an application, unchanged."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cauce.langgraph_http import HttpPart, http_part
from connectors.graphs.applications import file_of
from schemas import SettingsError, TtlStrategy, is_id

_OF_THE_IMAGE = (
    *("$schema", "python_version", "node_version", "api_version", "base_image", "image_distro", "dockerfile_lines"),
    *("pip_config_file", "pip_installer", "keep_pkg_tools", "source", "internal_docker_tag", "_INTERNAL_docker_tag"),
)
"""Keys that concern only the image that LangGraph's command line builds, and editors."""
_NOT_SERVED = {
    "store.index": "items of the store are found by namespace, key and filter; there is no semantic search",
    "store.ttl": "items of the store are kept until they are deleted",
    "store.path": "items are kept in Cauce's own store",
    "checkpointer.path": "states are kept in Cauce's own store, committed with the turn",
    "checkpointer.serde": "states are written by LangGraph's serializer with its defaults",
    "http.mount_prefix": "the API is served under /lg, or at the root of its own port (CAUCE_GATEWAY_LANGGRAPH_PORT)",
    "http.cors.allow_credentials": "pages of other origins must send a key or a token; browser sessions are for our own pages",
    "http.configurable_headers": "headers of a request are not copied into the config of its run",
    "http.logging_headers": "headers of a request are not logged",
    "ui": "there is no page for components of the application's own",
    "ui_config": "there is no page for components of the application's own",
    "webhooks": "runs call no webhooks; follow the stream, or read chat.responses",
    "mcp": "graphs are not offered as tools over MCP",
    "a2a": "agents are not offered over A2A",
}
_REFUSED = {
    "auth.path": (
        "users sign in with Cauce's own API keys, OpenID access tokens or browser sessions (docs/gateway.md), and threads, runs "
        "and items belong to one user. The handlers in this file would not be called: remove `auth` from the file to run without "
        "them"
    ),
    "encryption.path": "Cauce does not call encryption handlers. Remove `encryption` from the file to run without it",
}
"""Keys that are refused rather than ignored, because their owner relies on them."""
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
    """The contents of the file. `graphs` are written as in `[graphs]`, with absolute paths."""

    graphs: Mapping[str, str]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    """Folders to import from; the file's own folder is the first."""
    env: Mapping[str, str] = field(default_factory=dict)
    http: HttpPart = field(default_factory=HttpPart)
    thread_ttl: tuple[float, TtlStrategy] | None = None
    """Lifetime in minutes of threads without one of their own, and what happens when it has passed."""
    not_served: tuple[str, ...] = ()
    """Sentences about the parts that are not supported."""


def read_langgraph_file(path: Path) -> LangGraphFile:
    """Reads the file. Raises `SettingsError` if it cannot be read, or asks for something that cannot be ignored."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"the file {path} does not exist") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"the file {path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise SettingsError(f"the file {path} must be a JSON object with `graphs`")
    _check_shapes(path, found)
    folder, notes = path.resolve().parent, list[str]()
    if asked := _newer_python(found.get("python_version")):
        notes.append(
            f"python_version of {path.name}: it requires {asked}, but this is Python {sys.version_info[0]}.{sys.version_info[1]}"
        )
    for name in _names(found):
        if name in _REFUSED:
            raise SettingsError(f"{path} names {name}, which is not served: {_REFUSED[name]}")
        if name in _NOT_SERVED:
            notes.append(f"{name} of {path.name}: {_NOT_SERVED[name]}")
        elif not name.startswith((*_SERVED, *_OF_THE_IMAGE)):
            notes.append(f"{name} of {path.name}: unknown here, ignored")
    graphs, descriptions = _graphs(path, found.get("graphs"), folder, notes)
    folders = _dependencies(path, found.get("dependencies") or [], folder, notes)
    http = http_part(path, found.get("http") or {}, folder)
    env, ttl = _env(path, found.get("env"), folder), _thread_ttl(path, found, notes)
    return LangGraphFile(graphs, descriptions, folders, env, http, ttl, tuple(notes))


def _check_shapes(path: Path, found: Mapping[str, Any]) -> None:
    """Raises `SettingsError` if a part that is read here is not an object."""
    for name in ("store", "checkpointer", "http", "auth", "encryption"):
        if not isinstance(found.get(name) or {}, dict):
            raise SettingsError(f"{path}: {name} must be an object, not {found[name]!r:.150}")


def _thread_ttl(path: Path, found: Mapping[str, Any], notes: list[str]) -> tuple[float, TtlStrategy] | None:
    """The value of `checkpointer.ttl`. Its sweep interval is ignored: threads are deleted when their time is up."""
    given = (found.get("checkpointer") or {}).get("ttl")
    if given is None:
        return None
    minutes, strategy = (
        (given.get("default_ttl"), given.get("strategy", "delete")) if isinstance(given, dict) else (0, 0)
    )
    if isinstance(minutes, bool) or not isinstance(minutes, int | float | None) or minutes == 0 or (minutes or 1) < 0:
        raise SettingsError(
            f"{path}: checkpointer.ttl.default_ttl must be a number of minutes above 0, not {given!r:.150}"
        )
    if strategy not in ("delete", "keep_latest"):
        raise SettingsError(f"{path}: checkpointer.ttl.strategy must be delete or keep_latest, not {strategy!r:.150}")
    if strategy == "keep_latest":
        notes.append(
            f"checkpointer.ttl of {path.name}: with the strategy keep_latest, threads keep their whole history"
        )
        return None
    return None if minutes is None else (float(minutes), strategy)


def _newer_python(asked: object) -> str:
    """The version that the file asks for, if this Python is older than it."""
    found = re.fullmatch(r"(\d+)\.(\d+)", asked) if isinstance(asked, str) else None
    return found[0] if found and (int(found[1]), int(found[2])) > sys.version_info[:2] else ""


def _names(found: Mapping[str, Any]) -> Iterator[str]:
    """The keys of the file that have a value, joined with dots."""
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
            raise SettingsError(f"{path}: the graph {name!r:.150} must be ./path/file.py:object or module:object")
        place, _, thing = at.rpartition(":")
        if place.endswith((".ts", ".js", ".mts", ".mjs", ".cts", ".cjs", ".tsx", ".jsx")):
            notes.append(
                f"the graph {name!r} ({at}) of {path.name}: it is JavaScript; only Python graphs are hosted here"
            )
            continue
        is_file = place.endswith(".py")
        graphs[name] = f"{file_of(folder / place)}:{thing}" if is_file else at
        if isinstance(spec, dict) and isinstance(spec.get("description"), str):
            descriptions[name] = spec["description"]
    return graphs, descriptions


def _dependencies(path: Path, given: object, folder: Path, notes: list[str]) -> tuple[Path, ...]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise SettingsError(f"{path}: dependencies must be a list of folders and of names of packages")
    folders = [folder]
    for name in given:
        if name.startswith((".", "/")):
            place = (folder / name).resolve()
            if not place.is_dir():
                raise SettingsError(f"{path}: the dependency {name!r} is not a folder (looked for {place})")
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
    if given is None or isinstance(given, list):  # a list names variables that must be set already
        return {}
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in given.items()}
    if not isinstance(given, str):
        raise SettingsError(f"{path}: env must be an object, or the path of a file with NAME=value in each line")
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
