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


def model_of(data: tuple[str, str]) -> dict[str, Any]:
    (agent,) = json.loads(run("tenant", "show", "acme", "--json", at=data))["agents"]
    found: dict[str, Any] = agent["model"]
    return found


@pytest.mark.parametrize("name", ["nonsense", "nonsense:x", "openai", "openai:", "rules:x", "", " ", "OpenAI:gpt-5"])
def test_a_model_that_nobody_knows_is_refused_with_the_list_of_what_is_known(data: tuple[str, str], name: str) -> None:
    with pytest.raises(CauceError, match=r"is not valid: use auto, rules, anthropic:MODEL, .*openai:MODEL"):
        run("tenant", "set", "acme", "--model", name, at=data)
    assert model_of(data)["name"] == "auto"


@pytest.mark.parametrize(
    "name", ["auto", "rules", "openai:gpt-5-mini", "ollama:llama3.2:1b", "groq:x", "scripted:tokens=3"]
)
def test_a_model_that_a_worker_can_make_is_taken(data: tuple[str, str], name: str) -> None:
    run("tenant", "set", "acme", "--model", name, at=data)
    assert model_of(data)["name"] == name


def test_another_provider_takes_nothing_over_of_the_key_and_the_server_before(data: tuple[str, str]) -> None:
    server = ("--model-url", "http://127.0.0.1:1/v1", "--api-key-env", "ACME_KEY")
    run("tenant", "set", "acme", "--model", "openai:one", *server, at=data)
    run("tenant", "set", "acme", "--model", "openai:two", at=data)
    assert (model_of(data)["base_url"], model_of(data)["api_key_env"]) == ("http://127.0.0.1:1/v1", "ACME_KEY")
    told = run("tenant", "set", "acme", "--model", "rules", at=data)
    assert "base_url and api_key_env of the previous model no longer apply" in told
    assert (model_of(data)["base_url"], model_of(data)["api_key_env"]) == (None, None)
    run("tenant", "set", "acme", "--model", "anthropic:x", "--api-key-env", "OTHER", at=data)
    assert model_of(data)["api_key_env"] == "OTHER"
    with pytest.raises(CauceError, match="--api-key-env: the model rules asks no server"):
        run("tenant", "set", "acme", "--model", "rules", "--api-key-env", "ACME_KEY", at=data)
