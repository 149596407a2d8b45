"""Every path that the published clients of LangGraph know is served, or refused by name in the documentation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import langgraph_sdk
import pytest
from starlette.routing import Match

from connectors.gateway.protocols.lg.application import ROUTES

DOCS = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()
REFUSED = {"/runs/crons", "/threads/{}/runs/crons", "/runs/{}/stream", "PATCH /threads/{}/state"}
"""With all that is below them; each stands in the documentation."""
_VERBS = {"get": "GET", "post": "POST", "put": "PUT", "patch": "PATCH", "delete": "DELETE"}
_ROOTS = ("/assistants", "/threads", "/runs", "/store", "/ok", "/info")


def served(method: str, path: str) -> bool:
    """Whether a route takes it, with some id in the place of each variable."""
    scope = {"type": "http", "method": method, "path": path.replace("{}", "some-id"), "root_path": ""}
    enough = {Match.FULL, Match.PARTIAL} if method == "ANY" else {Match.FULL}
    return any(route.matches(scope)[0] in enough for route in ROUTES)


def _literals(node: ast.AST) -> Iterator[str]:
    for found in ast.walk(node):
        if isinstance(found, ast.JoinedStr):
            text = "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in found.values)  # type: ignore[misc]
        elif isinstance(found, ast.Constant) and isinstance(found.value, str):
            text = found.value
        else:
            continue
        if text.startswith(_ROOTS) and not re.search(r"\s", text):
            yield text.partition("?")[0]


def _methods(function: ast.AST) -> set[str]:
    """The methods that a function calls its server with."""
    found: set[str] = set()
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if not ast.unparse(node.func.value).endswith("http"):
            continue
        if verb := _VERBS.get(node.func.attr):
            found.add(verb)
        else:  # stream and request_reconnect are told it
            found |= {a.value for a in node.args if isinstance(a, ast.Constant) and a.value in _VERBS.values()}
    return found


def of_python() -> set[tuple[str, str]]:
    """Methods and paths in the source of the installed client for Python."""
    found: set[tuple[str, str]] = set()
    for file in sorted(Path(langgraph_sdk.__file__).parent.rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef):
                methods = _methods(function) or {"ANY"}
                # What an f-string has inside of it are parts of a path, not paths.
                parts = {id(v) for f in ast.walk(function) if isinstance(f, ast.JoinedStr) for v in f.values}
                paths = {
                    text
                    for node in ast.walk(function)
                    if isinstance(node, ast.JoinedStr | ast.Constant) and id(node) not in parts
                    for text in list(_literals(node))[:1]
                }
                found |= {(method, path) for method in methods for path in paths}
    return found


def of_javascript(folder: Path) -> set[tuple[str, str]]:
    """The same of the client for JavaScript: a path in its source, and the method that is named after it."""
    found: set[tuple[str, str]] = set()
    for file in sorted((folder / "node_modules" / "@langchain" / "langgraph-sdk" / "dist").rglob("*.js")):
        text = file.read_text()
        for match in re.finditer(r"[`\"'](/(?:assistants|threads|runs|store)\b[^`\"'\s]*)[`\"']", text):
            path = re.sub(r"\$\{[^}]*\}", "{}", match[1]).partition("?")[0]
            after = text[match.end() : match.end() + 400]
            following = re.search(r"[`\"']/(?:assistants|threads|runs|store)\b", after)
            if not after.startswith((", {", ")")) or after.startswith(");"):  # where it is called is elsewhere
                found.add(("ANY", path))
                continue
            method = re.search(r"method: [\"'](\w+)[\"']", after[: following.start()] if following else after)
            found.add((method[1].upper() if method else "GET", path))
    return found


def check(found: set[tuple[str, str]]) -> None:
    missing = sorted(f"{method} {path}" for method, path in found if not served(method, path))
    assert missing == []
    for refused in REFUSED:
        assert f"`{refused}".replace("/threads/{}", "/threads/{thread}").replace("{}", "{run}") in DOCS


def test_every_path_of_the_python_client_is_served_or_refused_by_name() -> None:
    found = of_python()
    assert len(found) > 45
    assert {("POST", "/runs/cancel"), ("GET", "/threads/{}/stream"), ("ANY", "/threads/{}/commands")} <= found
    check(found)


@pytest.mark.usefixtures("javascript")
def test_every_path_of_the_javascript_client_is_served_or_refused_by_name(javascript: Path) -> None:
    found = of_javascript(javascript)
    assert len(found) > 40
    assert {("ANY", "/threads/{}/stream"), ("ANY", "/threads/{}/commands"), ("DELETE", "/threads/{}")} <= found
    check(found)
