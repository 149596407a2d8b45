"""Graphs as people write them, with all that a saver has to bear."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from operator import add
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.store.base import BaseStore
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

# A chat


def reply(state: MessagesState) -> dict[str, Any]:
    text = state["messages"][-1].text
    if text.startswith("edit "):
        first = state["messages"][0]
        return {"messages": [HumanMessage(text[5:], id=first.id), AIMessage("edited")]}
    if text == "forget":
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), AIMessage("summary"), *state["messages"][-4:]]}
    if text.startswith("remove "):
        return {"messages": [RemoveMessage(id=state["messages"][int(text[7:])].id), AIMessage("removed")]}
    return {"messages": [AIMessage(f"{len(state['messages'])}: {text}")]}


chat = StateGraph(MessagesState).add_node("reply", reply).add_edge(START, "reply")

# A tool inside the graph


@tool
def weather(city: str) -> str:
    """How the weather is."""
    return f"rain in {city}"


def ask_weather(state: MessagesState) -> dict[str, Any]:
    if isinstance(last := state["messages"][-1], ToolMessage):
        return {"messages": [AIMessage(f"It is {last.text}.")]}
    call = {"name": "weather", "args": {"city": last.text}, "id": f"call_{len(state['messages'])}", "type": "tool_call"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


with_tools = (
    StateGraph(MessagesState)
    .add_node("model", ask_weather)
    .add_node("tools", ToolNode([weather]))
    .add_edge(START, "model")
    .add_conditional_edges("model", tools_condition)
    .add_edge("tools", "model")
)

# An interrupt in a subgraph, called as a node, and from a plain function


def joined(left: list[str], right: list[str]) -> list[str]:
    return list(dict.fromkeys([*left, *right]))  # a subgraph gives back what it was given


class Count(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    steps: Annotated[list[str], joined]


def ask(state: Count) -> dict[str, Any]:
    answer = interrupt({"question": "go on?"})
    return {"messages": [AIMessage(f"you said {answer}")], "steps": ["ask"]}


def prepare(state: Count) -> dict[str, Any]:
    return {"steps": ["prepare"]}


asking = (
    StateGraph(Count)
    .add_node("prepare", prepare)
    .add_node("ask", ask)
    .add_edge(START, "prepare")
    .add_edge("prepare", "ask")
    .compile()
)
outer = (
    StateGraph(Count)
    .add_node("think", lambda state: {"steps": ["think"]})
    .add_node("sub", asking)
    .add_edge(START, "think")
    .add_edge("think", "sub")
)


def call_plainly(state: Count, config: RunnableConfig) -> dict[str, Any]:
    result = asking.invoke({"messages": [], "steps": []}, config)
    return {"messages": result["messages"], "steps": ["called"]}


async def call_badly(state: Count, config: RunnableConfig) -> dict[str, Any]:
    return call_plainly(state, config)  # blocks the event loop, as people's code does


plain_call = StateGraph(Count).add_node("call", call_plainly).add_edge(START, "call")
blocking_call = StateGraph(Count).add_node("call", call_badly).add_edge(START, "call")

remembering = (
    StateGraph(Count)
    .add_node("note", lambda state: {"steps": [f"note {len(state['steps'])}"]})
    .add_edge(START, "note")
    .compile(checkpointer=True)
)
with_memory = StateGraph(Count).add_node("memory", remembering).add_edge(START, "memory")

# Parallel interrupts


class Votes(TypedDict):
    names: list[str]
    votes: Annotated[list[str], add]


def vote(state: dict[str, Any]) -> dict[str, Any]:
    return {"votes": [f"{state['name']}: {interrupt(state['name'])}"]}


voting = (
    StateGraph(Votes)
    .add_node("vote", vote)
    .add_conditional_edges(START, lambda s: [Send("vote", {"name": name}) for name in s["names"]], ["vote"])
    .add_edge("vote", END)
)

# Command(goto) inside the graph


def route(state: Count) -> Command[Any]:
    return Command(goto="right" if "right" in state["steps"] else "left", update={"steps": ["route"]})


routing = (
    StateGraph(Count)
    .add_node("route", route, destinations=("left", "right"))
    .add_node("left", lambda state: {"steps": ["went left"]})
    .add_node("right", lambda state: {"steps": ["went right"]})
    .add_edge(START, "route")
)

# The functional API


@task
def double(number: int) -> int:
    return 2 * number


@entrypoint()
async def counter(number: int, *, previous: int | None = None) -> entrypoint.final[int, int]:
    doubled = await double(number)
    agreed = interrupt(f"add {doubled}?") if number > 10 else True
    total = (previous or 0) + (doubled if agreed else 0)
    return entrypoint.final(value=total, save=total)


# A state of the user's own types


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Address(BaseModel):
    street: str
    since: datetime


@dataclass
class Visit:
    at: datetime
    moods: list[Mood] = field(default_factory=list)


class Profile(BaseModel):
    name: str = ""
    address: Address | None = None
    visits: list[Visit] = []
    mood: Mood = Mood.BAD
    tags: set[str] = set()
    anything: Any = None


def fill(state: Profile) -> dict[str, Any]:
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    return {
        "address": Address(street=f"{state.name} street", since=at),
        "visits": [Visit(at, [Mood.GOOD])],
        "mood": Mood.GOOD,
        "tags": {"a", "b"},
        "anything": Visit(at),
    }


profile = StateGraph(Profile).add_node("fill", fill).add_edge(START, "fill")

# The store


async def remember(state: Count, *, store: BaseStore, config: RunnableConfig) -> dict[str, Any]:
    await store.aput(("facts",), "last", {"steps": len(state["steps"])})
    return {"steps": ["kept"]}


def recall(state: Count, *, store: BaseStore) -> dict[str, Any]:
    found = store.get(("facts",), "last")  # a plain function: LangGraph runs it in a thread
    assert found is not None
    return {"steps": [f"found {found.value['steps']}"]}


keeping = (
    StateGraph(Count)
    .add_node("remember", remember)
    .add_node("recall", recall)
    .add_edge(START, "remember")
    .add_edge("remember", "recall")
)

# A large value


class Large(TypedDict):
    document: str


large = (
    StateGraph(Large)
    .add_node("read", lambda state: {"document": state["document"] * 1_000_000})
    .add_edge(START, "read")
)
