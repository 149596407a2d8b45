"""Graphs whose work takes as long as a test wants: until a file is there."""

from __future__ import annotations

import asyncio
import operator
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class Task(TypedDict, total=False):
    until: str
    """The file."""
    asks: str
    """What a person is asked before the work, and again after it."""
    notes: Annotated[list[str], operator.add]


def _ask(state: Task) -> Task:
    if not state.get("asks"):
        return {}
    return {"notes": [f"told {interrupt(state['asks'])}"]}


def _is_there(file: str) -> bool:
    return Path(file).exists()


async def _work(state: Task) -> Task:
    while not _is_there(state["until"]):
        await asyncio.sleep(0.02)
    return {"notes": ["worked"]}


def _then(state: Task) -> Any:
    if state.get("asks") and len(state["notes"]) < 3:
        return "ask"
    return END


_task = StateGraph(Task)
_task.add_node("ask", _ask)
_task.add_node("work", _work)
_task.add_edge(START, "ask")
_task.add_edge("ask", "work")
_task.add_conditional_edges("work", _then, ["ask", END])
task = _task.compile()
