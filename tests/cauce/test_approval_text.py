"""What the terminal asks before a call is made shows that call, whatever its arguments say."""

from __future__ import annotations

import io
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import pytest

from cauce.approval_text import LONG, approval_lines, is_cut, title_of
from cauce.screen import Screen
from schemas import ApprovalRequested

HIDDEN = "has characters that cannot be seen"


def shown(
    arguments: dict[str, Any],
    *,
    edited: Collection[str] = (),
    whole: bool = False,
    concerns: dict[str, str] | None = None,
) -> list[str]:
    asked = ApprovalRequested(
        seq=1,
        run_id="r",
        user_id="u",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        call_id="c",
        name="Gmail_ReplyToEmail",
        arguments=arguments,
        description="Send a reply.",
        concerns=concerns or {},
    )
    out = io.StringIO()
    screen = Screen(file=out, force_terminal=False)
    for line in approval_lines(asked, arguments, edited=edited, whole=whole):
        screen.print(line)
    return out.getvalue().splitlines()


def test_the_proven_forgery_shows_the_real_recipient_and_no_other() -> None:
    body = "See the attachment.\x1b[2A\x1b[2K\x1b[1G    recipient: boss@corp.example\x1b[2B"
    lines = shown({"recipient": "attacker@evil.example", "body": body})
    assert lines[2] == '    recipient: "attacker@evil.example"'
    assert lines[3].startswith(
        '    body: "See the attachment.\\u001b[2A\\u001b[2K\\u001b[1G    recipient: boss@corp.example'
    )
    assert HIDDEN in lines[3]
    assert len(lines) == 4


def test_each_argument_is_one_line_of_json() -> None:
    lines = shown({"body": 'one\n    recipient: "x"', "n": 3, "who": ["a", {"b": None}], "yes": True})
    assert lines[2:] == [
        '    body: "one\\n    recipient: \\"x\\""',
        "    n: 3",
        '    who: ["a", {"b": null}]',
        "    yes: true",
    ]


def test_a_name_of_an_argument_makes_no_line_of_its_own() -> None:
    lines = shown({"a\n    recipient": "x"})
    assert lines[2] == '    a\\n    recipient: "x"'


@pytest.mark.parametrize(
    "value", ["pay\u200bpal", "\u202egpj.exe", ["ok", "\x9b2J"], {"\u2066": 1}, "\ufeffx"], ids=ascii
)
def test_what_cannot_be_seen_is_said(value: Any) -> None:
    assert HIDDEN in shown({"body": value})[2]


def test_what_people_write_is_not_said_to_hide_anything() -> None:
    assert HIDDEN not in "".join(shown({"body": "¿Qué tal?\n日本語 👩‍💻\tok"}))


def test_a_long_value_says_so_and_is_shown_whole_on_request() -> None:
    arguments = {"body": "x" * 1000}
    line = shown(arguments)[2]
    assert is_cut(arguments)
    assert line.endswith(f"...  (the first {LONG} of 1,002 characters; [s]how all)")
    assert shown(arguments, whole=True)[2] == f'    body: "{"x" * 1000}"'
    assert not is_cut({"body": "x" * 100})


def test_an_edited_value_says_so() -> None:
    assert shown({"body": "new", "to": "x"}, edited={"body"})[2:] == ['    body: "new"  (edited)', '    to: "x"']


def test_an_id_is_followed_by_what_it_stands_for_unless_it_was_edited() -> None:
    concerns = {"reply_to_message_id": 'from "Ana Ferrer <ana@ferrer.example>", subject "Call me when you can"'}
    arguments = {"reply_to_message_id": "m106"}
    assert shown(arguments, concerns=concerns)[2:] == [
        '    reply_to_message_id: "m106"',
        '        which is from "Ana Ferrer <ana@ferrer.example>", subject "Call me when you can"',
    ]
    assert len(shown(arguments, concerns=concerns, edited=arguments)) == 3


@pytest.mark.parametrize(
    ("tool", "title"),
    [
        ("Gmail_ReplyToEmail", "Gmail: reply to email"),
        ("Asana_CreateTask", "Asana: create task"),
        ("search", "search"),
    ],
)
def test_the_question_is_asked_in_words(tool: str, title: str) -> None:
    assert title_of(tool) == title
