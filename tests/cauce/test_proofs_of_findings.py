"""Each test that docs/security.md names for a promise exists, and each finding has one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
HEADING = "## Findings of the review and their tests"
_ROW = re.compile(r"^\| (\w+)\b[^|]*\|([^|]+)\|(.*)\|$", re.M)
_NAMED = re.compile(r"`([^`]+)`")
FOUND = [*(f"H{n}" for n in range(1, 12)), *(f"M{n}" for n in range(1, 17)), "L"]


def rows() -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Finding, promise, and the file and the name of each of its tests."""
    section = PAGE.read_text().partition(HEADING)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    found = _ROW.findall("\n".join(lines))
    assert len(found) == len(lines), "a row has a finding, a promise, and tests"
    for finding, promise, tests in found:
        file, named = "", list[tuple[str, str]]()
        for name in _NAMED.findall(tests):
            if name.endswith(".py"):
                file = name
            else:
                named.append((file, name))
        yield finding, promise.strip(), named


def test_each_test_that_is_named_for_a_promise_exists() -> None:
    known: dict[str, set[str]] = {}
    missing = []
    for finding, _, named in rows():
        for file, name in named:
            if file not in known:
                path = ROOT / file
                tree = ast.parse(path.read_text() if path.is_file() else "")
                known[file] = {
                    node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                }
            if not name.startswith("test_") or name not in known[file]:
                missing.append(f"{finding}: {file}: {name}")
    assert missing == []


def test_each_finding_has_a_promise_and_a_test() -> None:
    found = list(rows())
    assert set(FOUND) <= {finding for finding, _, _ in found}
    assert [finding for finding, promise, named in found if not promise or not named] == []
