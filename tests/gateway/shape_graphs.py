"""Hosted graphs of the shapes that people have: they need nothing of ours, so that LangGraph's own server runs them too."""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


class SaysChunks(BaseChatModel):
    """A model that streams what it is given: chunks as keyword arguments of `AIMessageChunk`, of each answer in its turn."""

    answers: Sequence[Sequence[dict[str, Any]]] = ()
    seconds: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "says-chunks"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self

    def _chunks(self, messages: list[BaseMessage]) -> Sequence[dict[str, Any]]:
        """The answer after as many answers as there are behind the newest words of a person."""
        said = 0
        for message in reversed(messages):
            if message.type == "human":
                break
            said += message.type == "ai"
        return self.answers[said % len(self.answers)]

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> Iterator[ChatGenerationChunk]:
        for one in self._chunks(messages):
            chunk = ChatGenerationChunk(message=AIMessageChunk(**{"content": "", **one}))
            if run_manager:
                run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
            yield chunk

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for n, one in enumerate(self._chunks(messages)):
            await asyncio.sleep(self.seconds)
            while n == 3 and (file := _until(messages)) and not await asyncio.to_thread(Path(file).exists):
                await asyncio.sleep(0.01)
            chunk = ChatGenerationChunk(message=AIMessageChunk(**{"content": "", **one}))
            if run_manager:
                await run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
            yield chunk

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> ChatResult:
        whole: Any = None
        for chunk in self._stream(messages, stop, run_manager):
            whole = chunk if whole is None else whole + chunk
        made = AIMessage(
            whole.message.content,
            id=whole.message.id,
            tool_calls=whole.message.tool_calls,
            usage_metadata=whole.message.usage_metadata,
            additional_kwargs=whole.message.additional_kwargs,
            response_metadata=whole.message.response_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=made)])


def _until(messages: list[BaseMessage]) -> str:
    """The file that a writer waits for in the middle, where a person has said so."""
    said = [str(message.content) for message in messages if message.type == "human"]
    return next((words.partition(" until ")[2] for words in said if " until " in words), "")


def text(*pieces: str, **last: Any) -> list[dict[str, Any]]:
    """Chunks of a text, the last with its usage."""
    made: list[dict[str, Any]] = [{"content": piece} for piece in pieces]
    return [*made, {"usage_metadata": USAGE, "response_metadata": {"finish_reason": "stop"}, **last}]


def call(name: str, arguments: dict[str, Any], call_id: str, cut: int = 6) -> list[dict[str, Any]]:
    """Chunks of a call whose arguments come in pieces."""
    whole = json.dumps(arguments)
    pieces = [whole[n : n + cut] for n in range(0, len(whole), cut)]
    first = {"name": name, "id": call_id, "args": "", "index": 0}
    made: list[dict[str, Any]] = [{"tool_call_chunks": [first]}]
    made += [{"tool_call_chunks": [{"name": None, "id": None, "args": piece, "index": 0}]} for piece in pieces]
    return [*made, {"usage_metadata": USAGE, "response_metadata": {"finish_reason": "tool_calls"}}]


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]


def _talks(model: BaseChatModel) -> Any:
    async def answer(state: Chat) -> Chat:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(Chat)
    graph.add_node("model", answer)
    graph.add_edge(START, "model")
    graph.add_edge("model", END)
    return graph.compile()


THINKING = [
    {"content": "", "additional_kwargs": {"reasoning_content": "let me "}},
    {"content": "", "additional_kwargs": {"reasoning_content": "think"}},
    *text("Hello", " there", ", friend."),
]
PROVIDER = {"model_provider": "anthropic"}
BLOCKS = [
    {"content": [{"type": "thinking", "thinking": "let me ", "index": 0}], "response_metadata": PROVIDER},
    {"content": [{"type": "thinking", "thinking": "think", "index": 0}], "response_metadata": PROVIDER},
    {"content": [{"type": "thinking", "signature": "sig", "index": 0}], "response_metadata": PROVIDER},
    {"content": [{"type": "text", "text": "Hello", "index": 1}], "response_metadata": PROVIDER},
    {"content": [{"type": "text", "text": " there.", "index": 1}], "response_metadata": PROVIDER},
    {"content": [], "usage_metadata": USAGE, "response_metadata": {"stop_reason": "end_turn", **PROVIDER}},
]

chat = _talks(SaysChunks(seconds=0.05, answers=[text("Hello", " there", ", friend.")]))
"""Messages and nothing else."""
thinking = _talks(SaysChunks(seconds=0.05, answers=[THINKING]))
"""Reasoning in `additional_kwargs`, as several providers stream it."""
blocks = _talks(SaysChunks(seconds=0.05, answers=[BLOCKS]))
"""Thinking and text as content blocks."""
_SAYS_AND_CALLS = [
    {"content": "I look"},
    {"content": " it up", "usage_metadata": USAGE},
    *call("look_up", {"what": "sky"}, "c1")[:-1],
]
usage_on_text = _talks(SaysChunks(seconds=0.05, answers=[_SAYS_AND_CALLS]))
"""A text, then a call, and the usage on the last piece of text."""
calls_only = _talks(SaysChunks(seconds=0.05, answers=[call("look_up", {"what": "the sky"}, "c1")]))
"""A call without words."""


async def _say_at_once(state: Chat) -> Chat:
    return {"messages": [AIMessage("All at once.", id=f"whole-{len(state['messages'])}")]}


_whole = StateGraph(Chat)
_whole.add_node("say", _say_at_once)
_whole.add_edge(START, "say")
_whole.add_edge("say", END)
whole = _whole.compile()
"""A message that no model wrote."""


# ---- states of their own


class Count(TypedDict, total=False):
    n: Annotated[list[int], operator.add]
    said: str


def _adds(amount: int) -> Any:
    async def add(state: Count) -> Count:
        return {"n": [amount]}

    return add


_count = StateGraph(Count)
_count.add_node("one", _adds(1))
_count.add_node("ten", _adds(10))
_count.add_edge(START, "one")
_count.add_edge("one", "ten")
_count.add_edge("ten", END)
count = _count.compile()
"""Two steps and no message."""

_parallel = StateGraph(Count)
_parallel.add_node("fan", _adds(0))
for _name, _amount in (("left", 1), ("right", 2), ("middle", 3)):
    _parallel.add_node(_name, _adds(_amount))
    _parallel.add_edge("fan", _name)
    _parallel.add_edge(_name, END)
_parallel.add_edge(START, "fan")
parallel = _parallel.compile()
"""Three branches at the same time."""


async def _write_custom(state: Count) -> Count:
    write = get_stream_writer()
    write({"name": "progress", "step": "begun", "share": 0.5})
    write({"kind": "nameless"})
    write("only words")
    write({"name": "score", "payload": {"points": 3}})
    write({"name": "progress", "step": "done", "share": 1})
    return {"n": [7]}


_custom = StateGraph(Count)
_custom.add_node("write", _write_custom)
_custom.add_edge(START, "write")
_custom.add_edge("write", END)
custom = _custom.compile()
"""Writes into named and nameless channels."""


# ---- subgraphs

_inner = StateGraph(Chat)
_inner.add_node("write", _talks(SaysChunks(answers=[text("Deep", " down.")])))
_inner.add_edge(START, "write")
_inner.add_edge("write", END)


async def _summarise(state: Chat) -> Chat:
    model = SaysChunks(answers=[text("To", " sum", " up."), text("To", " sum", " up.")])
    return {"messages": [await model.ainvoke(state["messages"])]}


_deep = StateGraph(Chat)
_deep.add_node("research", _inner.compile(name="researcher"))
_deep.add_node("summary", _summarise)
_deep.add_edge(START, "research")
_deep.add_edge("research", "summary")
_deep.add_edge("summary", END)
deep = _deep.compile()
"""A subgraph in a subgraph, whose model streams, and then a model of the graph itself."""


class Asked(TypedDict, total=False):
    answers: Annotated[list[Any], operator.add]


async def _ask(state: Asked) -> Asked:
    return {"answers": [interrupt({"question": "Which colour?"})]}


async def _more(state: Asked) -> Asked:
    return {"answers": ["more"]}


_asking = StateGraph(Asked)
_asking.add_node("ask", _ask)
_asking.add_edge(START, "ask")
_asking.add_edge("ask", END)
_outside = StateGraph(Asked)
_outside.add_node("inside", _asking.compile())
_outside.add_node("more", _more)
_outside.add_edge(START, "inside")
_outside.add_edge("inside", "more")
_outside.add_edge("more", END)
asks_inside = _outside.compile()
"""Asks a person in a subgraph."""


# ---- tools


@tool
async def look_up(what: str) -> str:
    """Looks something up."""
    get_stream_writer()({"name": "looking", "what": what})
    return f"{what} is blue"


@tool
def fail_at(what: str) -> str:
    """Fails."""
    raise ValueError(f"no {what} here")


tool_agent = create_agent(
    SaysChunks(answers=[call("look_up", {"what": "the sky"}, "call-1"), text("The sky", " is", " blue.")]), [look_up]
)
"""An agent of LangChain with a tool."""


def _two_calls(state: Chat) -> Chat:
    calls = [
        {"name": "look_up", "args": {"what": "grass"}, "id": f"a{len(state['messages'])}", "type": "tool_call"},
        {"name": "fail_at", "args": {"what": "luck"}, "id": f"b{len(state['messages'])}", "type": "tool_call"},
    ]
    return {"messages": [AIMessage("", id=f"ask-{len(state['messages'])}", tool_calls=calls)]}


_tools = StateGraph(Chat)
_tools.add_node("ask", _two_calls)
_tools.add_node("tools", ToolNode([look_up, fail_at], handle_tool_errors=True))
_tools.add_edge(START, "ask")
_tools.add_edge("ask", "tools")
_tools.add_edge("tools", END)
tool_node = _tools.compile()
"""Two calls in a ToolNode, of which one fails."""

_expert = create_agent(SaysChunks(answers=[text("An expert", " says so.")]), [], name="expert")


@tool
async def ask_expert(question: str) -> str:
    """Asks another agent."""
    found = await _expert.ainvoke({"messages": [{"role": "user", "content": question}]})
    return str(found["messages"][-1].text)


team = create_agent(
    SaysChunks(answers=[call("ask_expert", {"question": "why?"}, "call-9"), text("As the", " expert says.")]),
    [ask_expert],
    name="boss",
)
"""An agent that asks another one by a tool."""


async def _break(state: Chat) -> Chat:
    raise RuntimeError("the well is dry")


_broken = StateGraph(Chat)
_broken.add_node("fail", _break)
_broken.add_edge(START, "fail")
quick_fail = _broken.compile()
"""Fails at once."""

_SEARCHER: Any = {"name": "searcher", "description": "Searches.", "system_prompt": "Search."}
_SEARCHER["model"] = SaysChunks(answers=[text("I found", " it.")])
_ASKS_SEARCHER = call("task", {"description": "find it", "subagent_type": "searcher"}, "call-t", cut=20)
deep_agent = create_deep_agent(SaysChunks(answers=[_ASKS_SEARCHER, text("Done", " now.")]), subagents=[_SEARCHER])
"""A deep agent that gives work to a subagent."""
