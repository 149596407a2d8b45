"""The contracts of imports name rooms one by one: a folder that is added is in them, too."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}


def folders(room: str, *, without: Collection[str] = ()) -> set[str]:
    found = {path.parent.name for path in (ROOT / room).glob("*/__init__.py")} - set(without)
    return {f"{room.replace('/', '.')}.{name}" for name in found}


@pytest.mark.parametrize(
    ("contract", "of", "wanted"),
    [
        ("The gateway's protocols know nothing of each other", "modules", folders("connectors/gateway/protocols")),
        ("Processor groups know nothing of each other", "modules", folders("processors")),
        ("Connectors to the outside know nothing of each other", "modules", folders("connectors", without={"gateway"})),
        (
            "FastAPI and Starlette are used by the gateway and the emulators alone",
            "source_modules",
            folders("connectors", without={"gateway", "emulators"}),
        ),
        (
            "LangGraph is used where graphs are hosted and in the legs alone",
            "source_modules",
            folders("connectors", without={"graphs"}) | folders("processors", without={"turns"}),
        ),
    ],
)
def test_every_folder_is_held_by_the_contract(contract: str, of: str, wanted: set[str]) -> None:
    assert wanted - set(CONTRACTS[contract][of]) == set(), f"add it to {of} of the contract in pyproject.toml"
