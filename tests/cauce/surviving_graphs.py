"""Graphs for tests of crashes: they note what they do in the folder `EFFECTS`, and wait there for leave to go on."""

from __future__ import annotations

import asyncio
import operator
import os
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt

from connectors.models.scripted import ScriptedChatModel

EFFECTS = Path(os.environ.get("EFFECTS", "."))


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    log: Annotated[list[str], operator.add]


def note(config: RunnableConfig, what: str) -> None:
    """Adds a line to the thread's file: an effect that no journal takes back."""
    with (EFFECTS / config["configurable"]["thread_id"]).open("a") as file:
        file.write(f"{what}\n")


async def _first(state: State, config: RunnableConfig) -> State:
    note(config, "first")
    get_stream_writer()({"step": "begun"})
    return {"messages": [AIMessage("I write:", id=f"begun-{len(state['messages'])}")], "log": ["first"]}


async def _write(state: State, config: RunnableConfig) -> State:
    note(config, "write")
    answer = await ScriptedChatModel(delay=1.5, tokens=40).ainvoke(state["messages"])
    return {"messages": [answer], "log": ["written"]}


_writer = StateGraph(State)
_writer.add_node("first", _first)
_writer.add_node("write", _write)
_writer.add_edge(START, "first")
_writer.add_edge("first", "write")
_writer.add_edge("write", END)
writer = _writer.compile()
"""Writes one answer in forty pieces, after a step that takes no time."""


def _step(name: str) -> Any:
    async def step(state: State, config: RunnableConfig) -> State:
        note(config, name)
        while name == "three" and not (EFFECTS / "go").exists():
            await asyncio.sleep(0.02)
        return {"log": [name]}

    return step


_steps = StateGraph(State)
for _name in ("one", "two", "three", "four"):
    _steps.add_node(_name, _step(_name))
_steps.add_edge(START, "one")
_steps.add_edge("one", "two")
_steps.add_edge("two", "three")
_steps.add_edge("three", "four")
_steps.add_edge("four", END)
steps = _steps.compile()
"""Four steps, of which the third waits for the file `go`."""


def _ask(question: str) -> Any:
    async def ask(state: State, config: RunnableConfig) -> State:
        answer = interrupt(question)
        note(config, f"{question} {answer}")
        return {"log": [f"{question} {answer}"]}

    return ask


_twice = StateGraph(State)
_twice.add_node("ask", _ask("Sure?"))
_twice.add_node("ask_again", _ask("Really?"))
_twice.add_edge(START, "ask")
_twice.add_edge("ask", "ask_again")
_twice.add_edge("ask_again", END)
twice = _twice.compile()
"""Asks two questions, one after the other."""


async def _reply(state: State) -> State:
    said = state["messages"][-1].content
    return {"messages": [AIMessage(f"to {said}")], "log": [f"to {said}"]}


_echo = StateGraph(State)
_echo.add_node("reply", _reply)
_echo.add_edge(START, "reply")
_echo.add_edge("reply", END)
echo = _echo.compile()
"""Answers the last message."""
