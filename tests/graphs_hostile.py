"""A graph whose nodes do what a test tells them: give, say, stream, ask and raise anything."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    values: Annotated[list[Any], operator.add]


plans: dict[str, Callable[[], Any]] = {}
"""By node: what it does and gives. Nodes without a plan give nothing."""
looks: list[Callable[[State], None]] = []
"""What is shown the state that each node begins with."""
ran: list[str] = []
"""Nodes that were run, in this process."""

HALF = "\ud83d"
"""Half an emoji."""


def _node(name: str) -> Callable[[State], Any]:
    async def node(state: State) -> Any:
        ran.append(name)
        for look in looks:
            look(state)
        plan = plans.get(name)
        return plan() if plan else {}

    return node


def _built() -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State)
    for name in ("one", "two", "odd\u2028"):
        graph.add_node(name, _node(name))
        graph.add_edge(START, name)
    return graph


anything = _built().compile()
"""Three nodes side by side; the name of the third has a line separator."""

SPECS = {"anything": "graphs_hostile:anything"}
