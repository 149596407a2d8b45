"""Whatever others wrote, a terminal shows it and does not obey it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.foreign_text import foreign, foreign_line

ACTS = {
    "escape": "\x1b[2A\x1b[2K",
    "bell": "\a",
    "backspace": "abc\b\b\b",
    "return": "harmless\rrm -rf",
    "C1 control sequence": "\x9b2J",
    "title": "\x1b]0;x\a",
    "override of the direction": "\u202egnp.exe",
    "isolate": "\u2066x\u2069",
    "mark of the direction": "\u200f",
    "width of zero": "pay\u200bpal",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "tags": "\U000e0041\U000e0042",
    "line separator": "a\u2028b",
    "filler": "a\u3164b",
    "empty braille": "\u2800",
    "surrogate": "\ud800",
}


@pytest.mark.parametrize("text", ACTS.values(), ids=ACTS)
def test_what_acts_on_a_terminal_or_hides_is_written_out(text: str) -> None:
    shown = foreign(text)
    assert "\\" in shown
    assert shown.isprintable()


def test_an_escape_is_shown_as_what_it_is() -> None:
    assert foreign("a\x1b[2Kb\u202ec\U000e0041") == "a\\x1b[2Kb\\u202ec\\U000e0041"


def test_running_text_keeps_its_lines_and_a_line_stays_one() -> None:
    assert foreign("one\r\ntwo\n\tthree") == "one\ntwo\n    three"
    assert foreign_line("title\n    recipient: boss@corp.example") == "title\\n    recipient: boss@corp.example"


@pytest.mark.parametrize("text", ["¿Qué tal?", "日本語", "العربية", "🏳️‍🌈 👩‍💻", "naïve café", "a\\nb"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert foreign(text) == text == foreign_line(text)


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_no_text_reaches_a_terminal_with_a_control_character(text: str) -> None:
    kinds = {unicodedata.category(c) for c in foreign(text).replace("\n", "").replace("\u200d", "")}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert "\n" not in foreign_line(text)
