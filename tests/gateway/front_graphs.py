"""Graphs that the tests of the gateway host: they do in small what people's own do."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_store, get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt

from connectors.models.scripted import ScriptedChatModel


class Context(TypedDict, total=False):
    tone: str


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    notes: Annotated[list[str], operator.add]
    plan: dict[str, Any]


@tool
def look_up(what: str) -> str:
    """Looks something up."""
    return f"{what} is blue"


async def _plan(state: State, config: RunnableConfig, runtime: Runtime[Context]) -> State:
    """Says what it was configured with, and keeps a count in the user's store."""
    store = get_store()
    before = await store.aget(("counts",), "plans")
    count = (before.value["n"] if before else 0) + 1
    await store.aput(("counts",), "plans", {"n": count})
    get_stream_writer()({"name": "progress", "step": "planned"})
    tone = (runtime.context or {}).get("tone", "plain")
    colour = config["configurable"].get("colour", "none")
    return {"plan": {"tone": tone, "colour": colour, "plans": count}, "notes": ["planned"]}


async def _call(state: State) -> State:
    """Asks for the tool."""
    call = {"name": "look_up", "args": {"what": "the sky"}, "id": "call_1", "type": "tool_call"}
    return {"messages": [AIMessage("", id=f"ask-{len(state['messages'])}", tool_calls=[call])]}


class Research(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    notes: Annotated[list[str], operator.add]


async def _write(state: Research) -> Research:
    answer = await ScriptedChatModel(tokens=6).ainvoke(state["messages"])
    return {"messages": [answer], "notes": ["written"]}


_research = StateGraph(Research)
_research.add_node("write", _write)
_research.add_edge(START, "write")
_research.add_edge("write", END)


async def _confirm(state: State) -> Command[Any]:
    """Asks a person."""
    said = interrupt({"question": "Send it?", "notes": state["notes"]})
    return Command(update={"notes": [f"confirmed: {said}"]}, goto=END)


_assistant = StateGraph(State, context_schema=Context)
_assistant.add_node("plan", _plan)
_assistant.add_node("call", _call)
_assistant.add_node("tools", ToolNode([look_up]))
_assistant.add_node("research", _research.compile())
_assistant.add_node("confirm", _confirm)
_assistant.add_edge(START, "plan")
_assistant.add_edge("plan", "call")
_assistant.add_edge("call", "tools")
_assistant.add_edge("tools", "research")
_assistant.add_edge("research", "confirm")
helper = _assistant.compile()
"""Plans, uses a tool in a ToolNode, writes in a subgraph, and asks a person before it ends."""


class Both(TypedDict, total=False):
    answers: Annotated[list[str], operator.add]


def _asks(name: str) -> Any:
    async def ask(state: Both) -> Both:
        return {"answers": [f"{name}: {interrupt(name)}"]}

    return ask


_both = StateGraph(Both)
for _name in ("left", "right"):
    _both.add_node(_name, _asks(_name))
    _both.add_edge(START, _name)
    _both.add_edge(_name, END)
both = _both.compile()


_away: set[str] = set()


async def _pick(state: Both, config: RunnableConfig) -> Both:
    answer = interrupt("which?")
    thread = config["configurable"]["thread_id"]
    if thread not in _away:
        _away.add(thread)
        raise ConnectionError("the shop is away")
    return {"answers": [f"picked {answer}"]}


_picks = StateGraph(Both)
_picks.add_node("pick", _pick)
_picks.add_edge(START, "pick")
_picks.add_edge("pick", END)
picks = _picks.compile()
"""Fails in each thread when it is answered for the first time."""
"""Two nodes that ask at the same time."""


_inner = StateGraph(Both)
_inner.add_node("ask", _asks("inside"))
_inner.add_edge(START, "ask")
_inner.add_edge("ask", END)
_outer = StateGraph(Both)
_outer.add_node("inner", _inner.compile())
_outer.add_edge(START, "inner")
_outer.add_edge("inner", END)
nested = _outer.compile()
"""Asks inside a subgraph."""


async def _slowly(state: State) -> State:
    """Writes word by word."""
    answer = await ScriptedChatModel(delay=2, tokens=40).ainvoke(state["messages"])
    get_stream_writer()({"name": "progress", "step": "said"})
    return {"messages": [answer], "notes": ["said"]}


_slow = StateGraph(State)
_slow.add_node("first", _slowly)
_slow.add_node("second", _slowly)
_slow.add_edge(START, "first")
_slow.add_edge("first", "second")
_slow.add_edge("second", END)
slow = _slow.compile()
"""Two answers, one after the other, each of which takes seconds."""


async def _fail(state: State) -> State:
    raise RuntimeError("the well is dry")


_broken = StateGraph(State)
_broken.add_node("fail", _fail)
_broken.add_edge(START, "fail")
broken = _broken.compile()
"""Fails."""


class Shared(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    city: str
    notes: Annotated[list[str], operator.add]
    about: dict[str, Any]


async def _side(state: Shared, config: RunnableConfig) -> Shared:
    """Calls a tool of the client, and says what came of it."""
    given = config["configurable"].get("agui", {})
    if isinstance(last := state["messages"][-1], ToolMessage):
        return {"messages": [AIMessage(f"{last.content} in {state['city']}")], "notes": ["seen"]}
    about = {
        "tools": [tool["name"] for tool in given["tools"]],
        "context": [item["value"] for item in given["context"]],
        "theme": given["forwarded_props"]["theme"],
    }
    call = {"name": about["tools"][0], "args": {}, "id": "call_9", "type": "tool_call"}
    return {"messages": [AIMessage("", tool_calls=[call])], "notes": ["seen"], "about": about}


_client_side = StateGraph(Shared)
_client_side.add_node("side", _side)
_client_side.add_edge(START, "side")
_client_side.add_edge("side", END)
client_side = _client_side.compile()
"""Uses what an AG-UI client gives beside the messages."""


async def _answer(state: State) -> State:
    return {"messages": [await ScriptedChatModel(tokens=3).ainvoke(state["messages"])]}


_plain = StateGraph(State)
_plain.add_node("answer", _answer)
_plain.add_edge(START, "answer")
_plain.add_edge("answer", END)
plain = _plain.compile()
"""Answers, and that is all."""
