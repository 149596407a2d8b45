"""Stores are declared in one list: `Stores` of `state/stores/__init__.py`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import state
from state import BACKENDS, STORES
from state.stores import twin

ROOM = Path(state.__file__).parent
CONFORMANCE = Path(__file__).parents[1] / "conformance" / "state"


def methods_of(protocol: type[Any]) -> set[str]:
    return {name for name, value in vars(protocol).items() if inspect.isfunction(value) and not name.startswith("_")}


def test_every_file_of_a_store_is_in_the_list() -> None:
    assert {file.stem for file in (ROOM / "stores").glob("*.py")} - {"__init__"} == set(STORES)


@pytest.mark.parametrize("name", STORES)
def test_every_store_has_a_conformance_suite(name: str) -> None:
    assert (CONFORMANCE / f"test_{name}_conformance.py").exists()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", STORES)
def test_both_twins_have_every_method_of_the_protocol_as_it_is_there(name: str, backend: str) -> None:
    protocol, found = STORES[name], twin(backend, name)
    assert protocol in found.__mro__
    for method in methods_of(protocol):
        own = next(base for base in found.__mro__ if method in vars(base))
        assert own is not protocol, f"{found.__name__} has no {method}"
        wanted = inspect.signature(vars(protocol)[method]).parameters
        assert inspect.signature(vars(own)[method]).parameters == wanted
