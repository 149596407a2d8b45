"""Commands write to the terminal in one place, where nothing is markup and nothing acts."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import cauce
from cauce.plain_output import json_text, say
from cauce.screen import Listing, Screen, one_line, styled

ROOM = Path(cauce.__file__).parent
WRITERS = {"screen.py", "plain_output.py"}
EVERYTHING = [chr(n) for n in range(0x110000) if unicodedata.category(chr(n)) in ("Cc", "Cf", "Zl", "Zp")]
"""All control characters, marks and overrides of the direction, characters without width, separators."""
STYLED = re.compile("\x1b\\[[0-9;]*m")


def written(*renderables: object, terminal: bool = True) -> str:
    out = io.StringIO()
    Screen(file=out, force_terminal=terminal, width=400_000).print(*renderables, sep="\n")
    return out.getvalue()


def acts(text: str) -> set[str]:
    return {ascii(c) for c in STYLED.sub("", text) if c != "\n" and c in EVERYTHING}


@pytest.mark.parametrize("make", [str, styled, one_line, lambda text: one_line((text, "bold red"))])
def test_every_character_that_acts_or_hides_is_written_out(make: object) -> None:
    assert callable(make)
    assert acts(written(make("".join(EVERYTHING)))) == set()


def test_every_character_is_written_out_in_tables_and_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    table = Listing("".join(EVERYTHING), "b")
    table.add_row("".join(EVERYTHING), one_line("x"))
    assert acts(written(table)) == set()
    say("".join(EVERYTHING))
    say("".join(EVERYTHING), err=True)
    streams = capsys.readouterr()
    assert acts(streams.out) | acts(streams.err) == set()


def test_a_cell_with_line_ends_makes_no_row() -> None:
    table = Listing("thread", "title")
    table.add_row("mine", "x\nother  approved")
    assert len(written(table).splitlines()) == 2


def test_nothing_is_markup() -> None:
    table = Listing("a")
    table.add_row("[/nonsense] :smile:")
    shown = written("[conceal]hidden[/] [/nonsense] :smile:", styled("[red]"), table, terminal=False)
    assert [line.strip() for line in shown.splitlines()] == [
        "[conceal]hidden[/] [/nonsense] :smile:",
        "[red]",
        "a",
        "[/nonsense] :smile:",
    ]


def test_json_for_programs_has_the_same_values_and_nothing_that_acts() -> None:
    value = {"".join(EVERYTHING): ["".join(EVERYTHING), "\ud800", "¿Qué tal? 日本語", 1.5, None]}
    text = json_text(value, indent=2)
    assert acts(text) == set()
    assert json.loads(text) == value
    assert "日本語" in text


def test_output_that_cannot_be_written_in_the_terminals_encoding_costs_no_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", narrow)
    say("日本語 \x1b[2J")
    narrow.flush()
    assert narrow.buffer.getvalue() == b"\\u65e5\\u672c\\u8a9e \\x1b[2J\n"  # type: ignore[attr-defined]


def _past_the_screen(tree: ast.Module) -> Iterator[str]:
    """What of a module reaches a terminal past the two writers, or mixes styles into a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("print", "typer.echo", "typer.secho", "click.echo", "sys.stdout.write", "sys.stderr.write"):
                yield f"{node.lineno}: {name}() instead of say()"
            if name in ("Console", "Text.from_markup", "Text.from_ansi", "Text", "Text.assemble") and node.args:
                yield f"{node.lineno}: {name}() instead of styled() or one_line()"
            if any(keyword.arg in ("markup", "emoji") for keyword in node.keywords):
                yield f"{node.lineno}: markup is off everywhere"
        if isinstance(node, ast.ImportFrom) and node.module in ("rich.console", "rich.markup", "rich.table", "rich"):
            yield f"{node.lineno}: {node.module} instead of cauce.screen"
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if re.search(r"\[/\]|\[/?(bold|dim|red|green|yellow|cyan|magenta|italic)[ a-z]*\]", text):
            yield f"{node.lineno}: a style inside of a text: {text[:40]!r}"


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_no_command_writes_past_the_screen_or_styles_inside_of_a_text(path: Path) -> None:
    if path.name not in WRITERS:
        assert list(_past_the_screen(ast.parse(path.read_text()))) == []


def test_the_rule_notices_what_it_forbids() -> None:
    bad = "print(f'[bold]{title}[/]'); typer.echo(x); Console(); from rich.table import Table; o.print(t, markup=True)"
    found = list(_past_the_screen(ast.parse(bad + "\nText.from_markup(x)")))
    assert len(found) >= 6
