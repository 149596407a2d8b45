"""Documents and comments refer only to what is in the repository."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.M | re.S)
_MENTIONED = re.compile(r"\b(?:docs|examples|deploy|tests|\.\./shared)/[\w./-]*\w|\b[A-Z]{4,}\.md\b|\bDESIGN\b")
_DECISION = re.compile(r"\bdecisions? (\d+)\b")
_HERE = re.compile(
    r"`((?:schemas|threads|state|streams|core|connectors|processors|cauce|bench|deploy|tests|docs)/[\w./-]+\.\w+)`"
)
THEIRS = {"docs/extending.md", "docs/migrate-from-langgraph.md"}
"""Documents that name files of their readers, too."""


def _files(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for name in listed.stdout.split() if (path := ROOT / name).exists()]


def _anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub derives them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _broken(path: Path) -> Iterator[str]:
    for target in _LINK.findall(_FENCED.sub("", path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        if not linked.exists():
            yield f"{path.relative_to(ROOT)}: {target} does not exist"
        elif anchor and anchor not in _anchors(linked.read_text()):
            yield f"{path.relative_to(ROOT)}: {target}: {linked.name} has no such heading"


def test_every_relative_link_of_a_document_leads_to_a_file_and_a_heading() -> None:
    documents = _files("*.md")
    assert len(documents) > 10
    assert [problem for path in documents for problem in _broken(path)] == []


def test_files_that_documents_name_are_in_the_repository() -> None:
    named = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in _files("*.md")
        if path.relative_to(ROOT).as_posix() not in THEIRS
        for name in _HERE.findall(path.read_text())
        if not (ROOT / name).exists()
    ]
    assert named == []


def test_modules_that_documents_name_without_a_folder_exist() -> None:
    known = {path.name for path in _files("*.py")}
    named = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in _files("docs/*.md", "CONTRIBUTING.md")
        if path.relative_to(ROOT).as_posix() not in THEIRS
        for name in re.findall(r"`([a-z]\w*\.py)`", _FENCED.sub("", path.read_text()))
        if name not in known
    }
    assert named == set()


def test_documents_and_decisions_that_the_code_refers_to_are_in_the_repository() -> None:
    decisions = {int(path.name[:4]) for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md")}
    problems = []
    for path in _files("*.py", "pyproject.toml", "Makefile"):
        if path == Path(__file__):
            continue
        source = path.read_text()
        problems += [
            f"{path.relative_to(ROOT)}: {name}"
            for name in _MENTIONED.findall(source)
            if (name.endswith(".md") and not (ROOT / name).exists()) or name.startswith((".", "DESIGN"))
        ]
        problems += [
            f"{path.relative_to(ROOT)}: decision {number}"
            for number in _DECISION.findall(source)
            if int(number) not in decisions
        ]
    assert problems == []
