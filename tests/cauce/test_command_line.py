"""How commands start, help, and fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cauce.cli import app

HEAVY = {
    "langchain",
    "langchain_core",
    "langgraph",
    "faststream",
    "cassandra",
    "arcadepy",
    "arcade_tdk",
    "fastapi",
    "rich",
}
REFERENCE = "import asyncio, pydantic, typer, rich.console, httpx, aiokafka"
"""What a start cannot do without."""
START = 2.2
"""Times the calls of the reference: 1.6 to 1.9 when this was written, in 1.3 times its processor time."""
COUNTED = """
import runpy, sys
calls = 0
def count(frame, event, argument):
    global calls
    calls += 1
sys.setprofile(count)
try:
    {}
finally:
    sys.setprofile(None)
    print(calls, file=sys.stderr)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CAUCE_")]:
        monkeypatch.delenv(name)
    return tmp_path


def cauce(*arguments: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *python, "-m", "cauce", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def commands(*names: str) -> dict[tuple[str, ...], Result]:
    """This command and all below it, as its help lists them, with their help. In one process: there are more than fifty."""
    helped = CliRunner().invoke(app, [*names, "--help"], prog_name="cauce")
    listed = re.search(r"─ Commands ─.*", helped.stdout, re.DOTALL)
    found = re.findall(r"^│ ([a-z]+)  ", listed.group(), re.MULTILINE) if listed else []
    below = [commands(*names, name) for name in found]
    return {names: helped} | {command: said for one in below for command, said in one.items()}


def test_every_command_explains_itself(folder: Path) -> None:
    found = commands()
    assert {("up",), ("chat",), ("ask",), ("work",), ("doctor",), ("threads", "show"), ("dlq", "replay")} <= set(found)
    for command, helped in found.items():
        assert helped.exit_code == 0, command
        said = helped.stdout.split("Usage:")[1].splitlines()
        assert any(line.strip() and not re.match(r"\W*(Usage|Options|Arguments)", line) for line in said[1:]), command


@pytest.mark.parametrize("arguments", [("--help",), ("ask", "hi"), ("ask", "--help")])
def test_it_starts_with_little_more_than_it_has_to_import(folder: Path, arguments: tuple[str, ...]) -> None:
    def calls(code: str) -> int:
        """Calls and returns of functions, which say what a start does whatever else the machine does."""
        ran = subprocess.run(
            [sys.executable, "-c", COUNTED.format(code), *arguments], capture_output=True, text=True, check=False
        )
        return int(ran.stderr.splitlines()[-1])

    start, reference = calls('runpy.run_module("cauce", run_name="__main__")'), calls(REFERENCE)
    assert start < START * reference, (start, reference)


def test_asking_imports_nothing_that_is_heavy(folder: Path) -> None:
    trace = cauce("ask", "hi", python=("-X", "importtime")).stderr
    imported = set(re.findall(r"^import time:.*\| +(\w+)$", trace, re.MULTILINE))
    assert "aiokafka" in imported
    assert imported & HEAVY == set()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("ask", "hi"), 3, "cauce up"),
        (("threads", "list"), 3, "cauce up"),
        (("ask", "hi", "--tenant", "No Such"), 2, "tenant is 'No Such'"),
        (("ask", "hi", "--config", "none.toml"), 2, "none.toml does not exist"),
        (("work", "nonsense"), 2, "turns"),
        (("asks",), 2, "asks"),
        (("ask",), 2, "text"),
    ],
)
def test_a_failure_is_one_clear_sentence_and_a_code(
    folder: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    failed = cauce(*arguments)
    assert failed.returncode == code
    assert words in failed.stderr
    assert (failed.stdout, "Traceback" in failed.stderr) == ("", False)
    assert list(folder.iterdir()) == [], "a command that fails leaves nothing behind"


def test_a_wrong_variable_stops_every_command_that_reads_settings(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUCE_MAX_RUNNING", "lots")
    for command in (("up",), ("chat",), ("ask", "x"), ("work", "turns"), ("topics", "show"), ("audit", "tail")):
        failed = cauce(*command)
        assert failed.returncode == 2, command
        assert "max_running is 'lots' in the environment variable CAUCE_MAX_RUNNING" in failed.stderr, command
        assert len(failed.stderr.splitlines()) == 1, command


def test_a_store_can_be_made_before_anything_runs(folder: Path) -> None:
    assert "applied" in cauce("state", "migrate").stdout
    assert "all migrations are applied" in cauce("state", "status").stdout
