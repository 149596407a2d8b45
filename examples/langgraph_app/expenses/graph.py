"""Reads an expense, books it, and asks a person when it is large. Knows nothing of Cauce."""

from __future__ import annotations

import re
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.types import Command, interrupt


class Settings(TypedDict, total=False):
    """What an assistant, or a run, may say otherwise."""

    limit: float


class State(TypedDict, total=False):
    """The conversation, and the expense that it is about."""

    messages: Annotated[list[AnyMessage], add_messages]
    amount: float
    approved_by: str


def read(state: State) -> State:
    """Finds the amount in what the person wrote."""
    found = re.search(r"\d+(\.\d+)?", str(state["messages"][-1].content))
    return {"amount": float(found[0]) if found else 0.0, "approved_by": ""}


def check(state: State, runtime: Runtime[Settings]) -> Command[str]:
    """Lets small expenses pass; asks a person about others, for as long as it takes."""
    if state["amount"] <= (runtime.context or {}).get("limit", 100.0):
        return Command(goto="book")
    answer = interrupt({"question": f"Approve {state['amount']:.2f}?"})
    if answer.get("approve"):
        return Command(goto="book", update={"approved_by": answer["by"]})
    return Command(goto=END, update={"messages": [AIMessage("Not booked.")]})


async def book(state: State, store: BaseStore) -> State:
    """Adds it to the user's total."""
    get_stream_writer()({"booking": state["amount"]})
    kept = await store.aget(("expenses",), "total")
    total = (kept.value["amount"] if kept else 0.0) + state["amount"]
    await store.aput(("expenses",), "total", {"amount": total})
    return {"messages": [AIMessage(f"Booked {state['amount']:.2f}; {total:.2f} this year.")]}


builder = StateGraph(State, context_schema=Settings)
builder.add_node("read", read)
builder.add_node("check", check, destinations=("book", END))
builder.add_node("book", book)
builder.add_edge(START, "read")
builder.add_edge("read", "check")
builder.add_edge("book", END)
graph = builder.compile()
