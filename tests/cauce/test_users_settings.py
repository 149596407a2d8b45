"""`cauce tenant set` and `cauce user`: what they keep, and what they refuse in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cauce.cli import app
from schemas import CauceError


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, str]:
    at = ("--data", str(tmp_path / "var"))
    run("state", "migrate", at=at)
    run("tenant", "add", "acme", at=at)
    return at


def run(*arguments: str, at: tuple[str, str]) -> Any:
    told = CliRunner().invoke(app, [*arguments, *at])
    if isinstance(told.exception, CauceError):
        raise told.exception
    assert told.exit_code == 0, told.output
    return told.stdout


def test_zones_of_tenants_and_users_are_kept_shown_and_taken_away(data: tuple[str, str]) -> None:
    run("tenant", "set", "acme", "--time-zone", "Europe/Madrid", at=data)
    run("user", "set", "acme", "ana", "--time-zone", "America/Los_Angeles", "--name", "Ana", at=data)
    assert json.loads(run("tenant", "show", "acme", "--json", at=data))["time_zone"] == "Europe/Madrid"
    (ana,) = json.loads(run("user", "list", "acme", "--json", at=data))
    assert (ana["user_id"], ana["name"], ana["time_zone"]) == ("ana", "Ana", "America/Los_Angeles")
    run("user", "set", "acme", "ana", "--time-zone", "", at=data)
    (ana,) = json.loads(run("user", "list", "acme", "--json", at=data))
    assert (ana["name"], ana["time_zone"]) == ("Ana", None)


def test_what_is_no_zone_is_refused_with_an_example(data: tuple[str, str]) -> None:
    for command in (("tenant", "set", "acme"), ("user", "set", "acme", "ana")):
        with pytest.raises(CauceError, match=r"'Mars/Base' is no time zone: write an IANA name such as Europe/Madrid"):
            run(*command, "--time-zone", "Mars/Base", at=data)


def test_tokens_of_one_answer_and_of_the_history_can_be_set(data: tuple[str, str]) -> None:
    run("tenant", "set", "acme", "--max-output-tokens", "1000", "--context-tokens", "50000", at=data)
    (agent,) = json.loads(run("tenant", "show", "acme", "--json", at=data))["agents"]
    assert (agent["model"]["max_output_tokens"], agent["model"]["context_tokens"]) == (1000, 50000)
