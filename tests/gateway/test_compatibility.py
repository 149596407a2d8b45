"""The tables in docs/compatibility.md: every public call of both published clients, on the own agent and on a hosted graph."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from compatibility_calls import CALLS, outcome
from door import Door
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from test_javascript_clients import node

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
PARTS = ("assistants", "threads", "runs", "crons", "store")
ASSISTANTS = ("agent", "plain")


def table(language: str) -> dict[str, tuple[str, str]]:
    """From the page: what a call does on the agent and on a graph."""
    section = PAGE.read_text().split(f"## Calls: {language}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-zA-Z_.]+)` \| (.*?) \| (.*?) \|$", section, re.MULTILINE)
    return {name: (agent, graph) for name, agent, graph in rows}


def holds(cell: str, found: str) -> bool:
    """`works` and `differs: ...` mean that the call is served; a refusal names its status and code."""
    if cell == "works" or cell.startswith("differs:"):
        return found == "works"
    return cell.split(";")[0] == f"refused: `{found}`"


def public_calls() -> set[str]:
    whole = get_client(url="http://127.0.0.1:1")
    return {
        f"{part}.{name}"
        for part in PARTS
        for name, _ in inspect.getmembers(type(getattr(whole, part)), inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.fixture(scope="module")
def key(embedded: Door) -> str:
    return embedded.key("home", "compat")


@pytest.fixture
async def client(embedded: Door, key: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=f"{embedded.url}/lg", api_key=key) as client:
        yield client


def test_page_and_trials_name_every_public_call_of_the_python_client() -> None:
    assert set(table("Python")) == public_calls() == set(CALLS)


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_python_call_does_what_the_page_says(client: LangGraphClient, name: str) -> None:
    for assistant, cell in zip(ASSISTANTS, table("Python")[name], strict=True):
        found = await outcome(CALLS[name], client, assistant)
        assert holds(cell, found), f"{name} on {assistant}: the page says {cell!r}, tried: {found!r}"


def test_javascript_calls_do_what_the_page_says(embedded: Door, key: str, javascript: Path) -> None:
    told: dict[str, Any] = node(javascript, "calls.mjs", f"{embedded.url}/lg", key, *ASSISTANTS)
    said = table("JavaScript")
    assert set(said) == set(told)
    wrong = [
        f"{name} on {assistant}: the page says {cell!r}, tried: {told[name] and told[name][assistant]!r}"
        for name, cells in said.items()
        for assistant, cell in zip(ASSISTANTS, cells, strict=True)
        if not holds(cell, (told[name] or {}).get(assistant, ""))
    ]
    assert not wrong, "\n".join(wrong)
