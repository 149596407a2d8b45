"""What others' exceptions say is bounded in the log, and an id that a person types is refused in words."""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import copy_context

import pytest
from typer.testing import CliRunner

from cauce.cli import app
from cauce.telemetry import LONGEST_TEXT, JsonFormatter, TextFormatter
from core.refusals import Invalid
from core.request_context import RequestContext, enter


def record_of(words: str) -> logging.LogRecord:
    try:
        raise ValueError(words)
    except ValueError as error:
        return logging.LogRecord("x", logging.ERROR, "f", 1, "failed: %s", (error,), sys.exc_info())


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_an_exception_of_ten_megabytes_has_its_beginning_and_its_end_in_the_log(formatter: logging.Formatter) -> None:
    line = formatter.format(record_of("begin " + "x" * 10_000_000 + " end \ud83d"))
    assert len(line) < 3 * LONGEST_TEXT
    assert "begin" in line
    assert "characters left out" in line
    line.encode()


def test_a_short_line_of_the_log_is_as_it_was() -> None:
    assert json.loads(JsonFormatter().format(record_of("oh")))["message"] == "failed: oh"


def test_what_others_say_makes_no_line_of_its_own_and_acts_on_no_terminal() -> None:
    forged = "x\n2026-11-23 10:00:00 INFO    cauce: all is well\x1b[2K\u202e"
    line = TextFormatter().format(record_of(forged))
    first, *rest = line.split("\n")
    assert "x\\n2026-11-23" in first
    assert all(one.startswith("  ") for one in rest), "lines of a traceback look like no line of the log"
    assert not {"\x1b", "\u202e"} & set(line)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_id_that_a_caller_gives_its_request_is_logged_beside_ours(formatter: logging.Formatter) -> None:
    def logged() -> str:
        enter(RequestContext.of("0000000000000000"))
        return formatter.format(logging.LogRecord("x", logging.INFO, "f", 1, "done", (), None))

    first, second = (copy_context().run(logged) for _ in range(2))
    ours = re.compile(r"\brequest_id\W+(\w+)")
    (one,), (other,) = ours.findall(first), ours.findall(second)
    assert len({one, other, "0000000000000000"}) == 3
    assert re.search(r"client_request_id\W+0000000000000000", first)


@pytest.mark.parametrize("thread", ["a b", "../x", "x" * 129, "é", ""])
def test_threads_show_refuses_an_id_that_cannot_be_one_in_words(thread: str) -> None:
    ended = CliRunner().invoke(app, ["threads", "show", thread])
    assert isinstance(ended.exception, Invalid)
    assert str(ended.exception).startswith(f"{thread!r} cannot be the id of a thread: it may have 1 to 128 letters")
