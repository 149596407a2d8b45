"""A person who decides on a call is told what its ids stand for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas import Message
from threads.references import references

MAIL = {"id": "m106", "thread_id": "t9", "from": "Ana Ferrer <ana@ferrer.example>", "subject": "Call me when you can"}
OTHER = {"id": "m107", "thread_id": "t9", "from": "Bo <bo@example.org>", "subject": "Lunch"}
TASK = {"gid": "12", "name": "Call Zoe", "due_on": "2026-12-01", "assignee": {"gid": "77", "name": "Zoe Marin"}}


def result(*things: Any, text: str | None = None, failed: bool = False) -> Message:
    return Message(
        message_id="m",
        role="tool",
        text=json.dumps({"found": list(things)}) if text is None else text,
        run_id="r",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        call_id="c",
        tool_name="Gmail_ListEmails",
        failed=failed,
    )


def test_an_id_is_told_in_words_of_the_thing_that_has_it() -> None:
    told = references({"reply_to_message_id": "m106", "body": "m106"}, [result(MAIL, OTHER)])
    assert told == {"reply_to_message_id": 'from "Ana Ferrer <ana@ferrer.example>", subject "Call me when you can"'}


def test_several_ids_of_one_argument_are_told_in_their_order() -> None:
    told = references({"ids": ["m107", "m106"]}, [result(MAIL), result(OTHER)])
    assert [words.split(",")[0] for words in told["ids"].split("; ")] == [
        'from "Bo <bo@example.org>"',
        'from "Ana Ferrer <ana@ferrer.example>"',
    ]


def test_numbers_and_things_inside_of_things_are_found() -> None:
    told = references({"task_gid": 12, "assignee_id": "77"}, [result({"tasks": [TASK]})])
    assert told == {"task_gid": 'name "Call Zoe", due_on "2026-12-01"', "assignee_id": 'name "Zoe Marin"'}


@pytest.mark.parametrize(
    "history",
    [
        [],
        [result(MAIL, failed=True)],
        [result(text="the mail m106 is from the boss")],
        [result(text='{"id": "m106", "from": ')],
        [result({"body": json.dumps(MAIL)})],
        [result({"id": "m106", "from": "boss@corp.example", "subject": "Pay"}), result(MAIL)],
        [result({"id": "m106"})],
    ],
    ids=["nothing", "failed", "running text", "broken", "inside of a text", "two say different things", "no words"],
)
def test_nothing_is_told_where_it_is_not_sure(history: list[Message]) -> None:
    assert references({"reply_to_message_id": "m106"}, history) == {}


def test_one_unknown_id_among_several_leaves_the_argument_out() -> None:
    assert references({"ids": ["m106", "m1"]}, [result(MAIL)]) == {}


def test_what_is_told_is_quoted_and_short() -> None:
    hostile = {"id": "m1", "from": 'x", subject "harmless', "subject": "y" * 5000}
    told = references({"email_id": "m1"}, [result(hostile)])["email_id"]
    assert told.startswith('from "x\\", subject \\"harmless", subject "yyy')
    assert len(told) < 300
    assert references({"ids": [f"m{n}" for n in range(100)]}, [result(MAIL)]) == {}
    assert references({"email_id": "[" * 500}, [result(text='{"a": ' + "[" * 100_000)]) == {}
