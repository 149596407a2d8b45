"""The code uses the terms of docs/glossary.md; its table of words to avoid is read and checked here."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "threads", "state", "streams", "core", "connectors", "processors", "cauce", "deploy", "bench")
PROSE = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@dataclass(frozen=True)
class Rule:
    not_this: str
    but: str
    where: str
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class Text:
    where: str
    line: int
    text: str


def _rules() -> list[Rule]:
    page = (ROOT / "docs" / "glossary.md").read_text()
    table = page.partition("## Words to avoid")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (prose|docstring|name) \| `(.+)` \|$", table, re.M)
    assert len(rows) == sum(line.startswith("| ") for line in table.splitlines()) - 1, "a row cannot be read"
    return [Rule(*row[:3], re.compile(row[3].replace("\\|", "|"), re.I)) for row in rows]


RULES = _rules()


def texts(source: str) -> Iterator[Text]:
    """All prose, beginnings of docstrings and names of a module, with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in PROSE and " " in token.string:
            for number, line in enumerate(token.string.splitlines()):
                yield Text("prose", token.start[0] + number, line)
    for node in ast.walk(ast.parse(source)):
        for name in _names(node):
            yield Text("name", getattr(node, "lineno", 1), re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
        for statement in getattr(node, "body", []) if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield Text("docstring", statement.lineno, text.lstrip())


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr


def found(source: str) -> list[str]:
    """Each word to avoid: its line, the word, and what to say instead."""
    problems = []
    for text in texts(source):
        for rule in RULES:
            search = rule.pattern.match if rule.where == "docstring" else rule.pattern.search
            if rule.where == text.where and (hit := search(text.text)):
                problems.append(f"{text.line}: {hit[0]!r} ({rule.not_this}); say: {rule.but}")
    return problems


def test_code_uses_the_words_of_the_glossary() -> None:
    problems = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            problems += [f"{name}:{problem}" for problem in found(path.read_text())]
            problems += [f"{name}: {problem}" for problem in found(f"{path.stem} = 1")]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("source", "instead"),
    [
        ('"""Ends it at once."""', "immediately"),
        ("# the run goes on here", "continue"),
        ('"""Of one answer."""', "subject"),
        ("def complain(words): ...", "message"),
        ("lastWords = 1", "message"),
        ("raise ValueError(f'the file says so: {x}')", "reports"),
        ("x = 1  # what its file says", "contents"),
    ],
)
def test_a_word_of_the_private_dialect_is_found_with_what_to_say_instead(source: str, instead: str) -> None:
    assert instead in "".join(found(source))


@pytest.mark.parametrize(
    "source",
    [
        '"""The message says why. Waits for the store, which is going to close."""',
        "# The first words of a mail; this takes place in one place.",
        '"""A note of one answer."""',
        "sword, place, wait = 1, 2, 3",
    ],
)
def test_ordinary_english_is_let_through(source: str) -> None:
    assert found(source) == []
