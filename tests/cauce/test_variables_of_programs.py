"""The programs of `cauce up` get no key that they do not need."""

from __future__ import annotations

import pytest

from cauce.services import all_programs
from cauce.settings import load_settings

USUAL = {"PATH": "/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "PYTHONPATH": "/src", "SSL_CERT_FILE": "/ca.pem"}
KEYS = {
    "OPENAI_API_KEY": "k",
    "ANTHROPIC_API_KEY": "k",
    "ARCADE_API_KEY": "k",
    "GOOGLE_SECRET": "k",
    "AWS_SECRET_ACCESS_KEY": "k",
    "CAUCE_KAFKA_PASSWORD": "k",
    "CAUCE_MODEL": "auto",
}
PROGRAMS = {program.name: program for program in all_programs()}


@pytest.mark.parametrize("name", ["broker", "emulators"])
def test_broker_and_emulators_get_no_key_and_no_setting(name: str) -> None:
    given = PROGRAMS[name].variables(load_settings(environment={}), {**USUAL, **KEYS})
    assert given == USUAL


def test_gateway_gets_no_key_of_a_model_unless_it_hosts_code_that_may_need_it() -> None:
    variables = PROGRAMS["gateway"].variables
    given = variables(load_settings(environment={}), {**USUAL, **KEYS})
    assert {*USUAL, *KEYS} - {*given} == {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"}
    hosting = load_settings(environment={"CAUCE_GRAPHS": "mine=module:graph"})
    assert variables(hosting, {**USUAL, **KEYS}) == {**USUAL, **KEYS}


def test_worker_gets_what_models_and_tools_need() -> None:
    assert PROGRAMS["worker"].variables(load_settings(environment={}), {**USUAL, **KEYS}) == {**USUAL, **KEYS}
