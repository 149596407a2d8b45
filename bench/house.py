"""Counts indicators of how easy the code is to change; `python -m bench.house DIR...` prints a column for each checkout.

docs/architecture.md has the figures. Only the product's own folders are counted; comparisons of names leave out `__init__.py`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOMS = ("schemas", "threads", "state", "streams", "core", "connectors", "processors", "cauce")
SHOWS = re.compile(r"(projection|frames|transcript|asking|chatting|graph_channels|message_events|subgraph_events)\.py$")
"""Files that convert events into what a client sees."""
GRAPH = re.compile(r"\.graph\b(?!\()|\bis_graph\b|\bgraph is (?:not )?None\b")


def figures(root: Path) -> dict[str, int | str]:
    """The figures of one checkout, by title."""
    files = {path: path.read_text() for room in ROOMS for path in sorted((root / room).rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in files.items()}
    names = Counter(path.name for path in files if not path.name.startswith("__"))
    lengths = {path: len(text.splitlines()) for path, text in files.items()}
    return {
        "product files": len(files),
        "lines": sum(lengths.values()),
        "files over 400 lines": sum(1 for length in lengths.values() if length > 400),
        "longest file": max(lengths.values()),
        "file names used twice or more": sum(1 for n in names.values() if n > 1),
        "type tests where events are shown": sum(
            _calls(tree, "isinstance") for path, tree in trees.items() if SHOWS.search(path.name)
        ),
        "branches on 'is it a graph'": sum(1 for tree in trees.values() for _ in _branches(tree)),
        "asserts on a run or its graph": sum(1 for tree in trees.values() for _ in _asserts(tree)),
        "floors of imports in processors": floors(root, "processors", trees),
        "floors of imports in the gateway": floors(root, "connectors/gateway", trees),
    }


def _calls(tree: ast.AST, name: str) -> int:
    return sum(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in ast.walk(tree)
    )


def _branches(tree: ast.AST) -> Iterator[ast.expr]:
    """The number of conditions that test whether something belongs to a graph."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp | ast.While) and GRAPH.search(ast.unparse(node.test)):
            yield node.test
        elif isinstance(node, ast.comprehension):
            yield from (test for test in node.ifs if GRAPH.search(ast.unparse(test)))


def _asserts(tree: ast.AST) -> Iterator[ast.Assert]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and re.search(r"\brun\b|\.graph\b", ast.unparse(node.test)):
            yield node


def floors(root: Path, room: str, trees: dict[Path, ast.Module]) -> int:
    """The longest chain of imports between the modules of a folder, in modules."""
    prefix = room.replace("/", ".")
    modules = {_module(root, path): tree for path, tree in trees.items() if _module(root, path).startswith(prefix)}
    below = {name: {m for m in _imported(tree) if m in modules and m != name} for name, tree in modules.items()}
    walking: set[str] = set()

    @cache
    def height(name: str) -> int:
        walking.add(name)
        found = 1 + max((height(m) for m in below[name] if m not in walking), default=0)
        walking.discard(name)
        return found

    return max(map(height, modules), default=0)


def _module(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _imported(tree: ast.Module) -> set[str]:
    """Modules imported together with the module; imports inside functions run later and do not count."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def main() -> None:
    """Prints the table."""
    columns = [figures(Path(one)) for one in sys.argv[1:] or ["."]]
    print("|", "|", " | ".join(sys.argv[1:] or ["."]), "|")
    print("|---|" + "---|" * len(columns))
    for name in columns[0]:
        print(f"| {name} |", " | ".join(f"{column[name]:,}" for column in columns), "|")


if __name__ == "__main__":
    main()
