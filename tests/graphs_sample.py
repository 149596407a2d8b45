"""Graphs for tests: small ones that do what a test tells them, without a language model."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt

from connectors.models.scripted import ScriptedChatModel


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    log: Annotated[list[str], operator.add]


ran: list[str] = []
"""Nodes that were run, in this process."""
hooks: dict[str, Callable[[], Any]] = {}
"""By node: what it does first, once; may raise, or return something to await."""


async def _begin(node: str) -> None:
    ran.append(node)
    if hook := hooks.pop(node, None):
        done = hook()
        if asyncio.iscoroutine(done):
            await done


async def _model(state: State) -> State:
    await _begin("model")
    answer = await ScriptedChatModel(tokens=5).ainvoke([SystemMessage("Be brief."), *state["messages"]])
    return {"messages": [answer]}


def _chat() -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State)
    graph.add_node("model", _model)
    graph.add_edge(START, "model")
    graph.add_edge("model", END)
    return graph


chat = _chat().compile()
"""A person says something, a model answers in five tokens."""


async def _ask(state: State) -> State:
    await _begin("ask")
    return {"log": [f"asked: {interrupt('Sure?')}"]}


async def _finish(state: State) -> State:
    await _begin("finish")
    return {"log": ["finished"]}


def _asks() -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State)
    graph.add_node("ask", _ask)
    graph.add_node("finish", _finish)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "finish")
    graph.add_edge("finish", END)
    return graph


asks = _asks().compile()
"""Asks a person before it finishes."""


def _step(name: str) -> Callable[[State], Any]:
    async def step(state: State) -> State:
        await _begin(name)
        get_stream_writer()({"at": name})
        return {"log": [name], "messages": [HumanMessage(f"said by {name}")]}

    return step


def _steps() -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State)
    for name in ("one", "two", "three"):
        graph.add_node(name, _step(name))
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    graph.add_edge("two", "three")
    graph.add_edge("three", END)
    return graph


steps = _steps().compile()
"""Three nodes, one after the other."""


def _around() -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State)
    graph.add_node("inner", _asks().compile())
    graph.add_edge(START, "inner")
    graph.add_edge("inner", END)
    return graph


around = _around().compile()
"""The graph that asks, inside another."""


class Small(TypedDict):
    count: Annotated[int, operator.add]


def _count(state: Small) -> Small:
    return {"count": 1}


def _counts() -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(Small)
    graph.add_node("count", _count)
    graph.add_edge(START, "count")
    graph.add_edge("count", "count")
    return graph


counts = _counts().compile()
"""Never ends by itself, has no messages, and its node is a plain function."""
SPECS = {name: f"graphs_sample:{name}" for name in ("chat", "asks", "steps", "around", "counts")}
