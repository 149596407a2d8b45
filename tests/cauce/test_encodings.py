"""Terminals and callers that do not speak UTF-8: a character costs itself, never an answer."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from running_system import RunningSystem

NOT_UTF8 = [
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp1252"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
]


def run(system: RunningSystem, *arguments: str | bytes, given: bytes = b"", **more: str) -> tuple[int, bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "cauce", *arguments],
        env={**system.environment, **more},
        input=given,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("environment", NOT_UTF8, ids=lambda environment: str(next(iter(environment.values()))))
def test_what_a_terminal_cannot_show_is_a_question_mark(system: RunningSystem, environment: dict[str, str]) -> None:
    code, said = run(system, "tenant", "set", "home", "--name", "Café ▲ 日本", **environment)
    for command in (
        ("ask", "hello ▲ 日本", "--thread", "mark"),
        ("threads", "list"),
        ("threads", "show", "mark"),
        ("doctor",),
        ("tenant", "list"),
    ):
        code, said = run(system, *command, **environment)
        assert code == 0, said
        assert b"Error" not in said, said
    assert b"?" in run(system, "threads", "show", "mark", **environment)[1]
    code, said = run(system, "chat", "--thread", "mark", given=b"hello\n/history\n/threads\n", **environment)
    assert code == 0, said
    assert b"Error" not in said, said


def test_a_question_in_another_encoding_is_asked_as_far_as_it_can_be_read(system: RunningSystem) -> None:
    code, said = run(system, "ask", b"caf\xe9 \xff", "--thread", "latin")
    assert code == 0, said
    assert "caf\ufffd \ufffd" in run(system, "threads", "show", "latin")[1].decode()
    code, said = run(system, "chat", "--thread", "latin", given=b"gr\xfc\xdfe\nhello\n/history\n")
    assert code == 0, said
    assert "gr\ufffd\ufffde" in said.decode()


@pytest.mark.parametrize("environment", [{}, NOT_UTF8[3]], ids=["utf-8", "C"])
def test_names_of_files_in_another_encoding_are_found(system: RunningSystem, environment: dict[str, str]) -> None:
    folder = os.fsencode(system.data.parent / "caf") + b"\xe9.toml"
    with open(folder, "wb") as file:
        file.write(b"")
    code, said = run(system, "threads", "list", b"--config", folder, **environment)
    assert code == 0, said


@pytest.mark.parametrize("given", ["slack:C1", "a b", "ana@example.com", "_x", "ü", ""])
def test_an_id_that_cannot_be_one_is_refused_in_words_that_name_it(system: RunningSystem, given: str) -> None:
    for command in (
        ("ask", "hi", "--thread", given),
        ("chat", "--thread", given),
        ("ask", "hi", "--user", given),
        ("tenant", "key", "create", "home", "--user", given),
    ):
        code, said = run(system, *command)
        assert code == 2, (command, said)
        words = said.decode()
        assert f"{given!r} cannot be the id of a" in words, words
        assert "1 to 128 letters, digits, _, . and -" in words
