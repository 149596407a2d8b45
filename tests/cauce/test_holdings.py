"""Whatever keeps something of people says so."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import state
from cauce.holdings import HOLDINGS
from core.personal_data import TOPIC_HOLDINGS
from schemas import Holding, Topic
from state import BACKENDS, STORES
from state import HOLDINGS as STORE_HOLDINGS

ROOM = Path(state.__file__).parent


def tables_of(backend: str) -> set[str]:
    scripts = (ROOM / backend / "migrations").iterdir()
    return {
        name for script in scripts for name in re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", script.read_text())
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_table_belongs_to_a_holding(backend: str) -> None:
    assert tables_of(backend) - {table for holding in STORE_HOLDINGS.values() for table in holding.tables} == set()


def test_every_table_of_a_holding_is_in_a_migration_and_of_no_other() -> None:
    named = Counter(table for holding in STORE_HOLDINGS.values() for table in holding.tables)
    assert set(named) == {table for backend in BACKENDS for table in tables_of(backend)}
    assert set(named.values()) == {1}


def test_every_store_and_every_topic_has_a_holding() -> None:
    assert {name: holding.name for name, holding in STORE_HOLDINGS.items()} == {name: name for name in STORES}
    assert {holding.name for holding in TOPIC_HOLDINGS} == set(Topic)


OF_NOBODY = {"attempts", "run", "cauce.json", "broker.password", "lock"}


@pytest.mark.parametrize("holding", HOLDINGS, ids=lambda holding: f"{holding.kind} {holding.name}")
def test_every_holding_says_what_it_keeps_and_how_it_is_exported_and_erased(holding: Holding) -> None:
    assert holding.exported
    assert holding.erased
    assert bool(holding.user or holding.tenant) == (holding.name not in OF_NOBODY)
