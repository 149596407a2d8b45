"""The LangGraph agent: compiled once, the same object for all tenants; what differs comes in by context.

Tools are given as schemas only, so the graph ends when the model asks for tools: nothing waits inside it, nothing is
checkpointed, and the pipeline makes the calls (DESIGN section 5). LangChain's `create_agent` would make the same graph
around a loop over tools that never runs here; with the middleware that it needs for a model per call it costs twice the CPU
(docs/performance.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages import ToolCall as LangChainToolCall
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from processors.turns.answers import Answer, AskedTool
from schemas import Message, TokenUsage, storable, storable_text

DELTA_SECONDS = 0.03
"""Pieces of text are gathered for so long before one delta is sent."""

OnText = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TurnContext:
    """What one turn's model call is made with."""

    model: BaseChatModel
    instructions: str
    tools: Sequence[Mapping[str, Any]] = field(default=())
    """Tools as JSON schemas in OpenAI's form."""
    on_text: OnText = lambda text: None
    """Gets the answer piece by piece."""


class _State(TypedDict, total=False):
    messages: list[AnyMessage]
    answer: AIMessage


class Agent:
    """Runs one leg: from a history to the model's next message."""

    def __init__(self) -> None:
        graph = StateGraph(_State, context_schema=TurnContext)
        graph.add_node("model", _ask)
        graph.add_edge(START, "model")
        graph.add_edge("model", END)
        self._graph = graph.compile(name="cauce-agent")

    async def leg(self, history: Sequence[Message], context: TurnContext) -> Answer:
        """Asks the model. Raises what the model raises."""
        inputs: _State = {"messages": [to_langchain(m) for m in history]}
        state = await self._graph.ainvoke(inputs, context=context)
        return to_answer(state["answer"])


async def _ask(state: _State, runtime: Runtime[TurnContext]) -> _State:
    context = runtime.context
    pieces = _Pieces(context.on_text)
    model = context.model.bind_tools([dict(t) for t in context.tools]) if context.tools else context.model
    final: AIMessage | None = None
    async for chunk in model.astream([SystemMessage(context.instructions), *state["messages"]]):
        if isinstance(chunk, AIMessageChunk):
            final = chunk if final is None else final + chunk  # type: ignore[assignment]
            if text := text_of(chunk):
                pieces.add(text)
        else:
            final = chunk  # a model that cannot stream gives its whole message
    pieces.flush(last=True)
    if final is None:
        raise RuntimeError("the model gave no message")
    return {"answer": final}


class _Pieces:
    def __init__(self, on_text: OnText) -> None:
        self._on_text, self._parts, self._sent = on_text, list[str](), float("-inf")

    def add(self, text: str) -> None:
        self._parts.append(text)
        if time.monotonic() - self._sent >= DELTA_SECONDS:
            self.flush()

    def flush(self, *, last: bool = False) -> None:
        text = "".join(self._parts)
        self._parts.clear()
        if not last and "\ud800" <= text[-1:] <= "\udbff":  # the other half of the character is still to come
            self._parts.append(text[-1])
            text = text[:-1]
        if text:
            self._on_text(storable_text(text))
            self._sent = time.monotonic()


def to_langchain(message: Message) -> AnyMessage:
    """A stored message as LangChain has it."""
    if message.role == "user":
        return HumanMessage(message.text, id=message.message_id)
    if message.role == "tool":
        return ToolMessage(
            message.text,
            tool_call_id=message.call_id or "",
            name=message.tool_name,
            id=message.message_id,
            status="error" if message.failed else "success",
        )
    calls = [LangChainToolCall(name=c.name, args=c.arguments, id=c.call_id) for c in message.tool_calls]
    return AIMessage(message.text, id=message.message_id, tool_calls=calls)


def to_answer(message: AIMessage) -> Answer:
    """The model's message as a transition needs it, all of it storable; calls whose arguments are not JSON come with the
    problem."""
    asked = [AskedTool(storable_text(c["name"]), storable(dict(c["args"]))) for c in message.tool_calls]
    for broken in message.invalid_tool_calls:
        problem = f"The arguments were not valid JSON ({broken.get('error') or 'unreadable'}); write the call again."
        asked.append(AskedTool(storable_text(broken.get("name") or "unknown"), {}, storable_text(problem[:500])))
    usage = message.usage_metadata
    counted = TokenUsage()
    if usage:
        counted = TokenUsage(input_tokens=usage["input_tokens"], output_tokens=usage["output_tokens"])
    model = message.response_metadata.get("model_name") if message.response_metadata else None
    return Answer(storable_text(text_of(message)), tuple(asked), counted, storable(model))


def text_of(message: BaseMessage) -> str:
    """The text of a message whose content may be a list of blocks."""
    if isinstance(message.content, str):
        return message.content
    return "".join(
        block if isinstance(block, str) else block.get("text", "")
        for block in message.content
        if isinstance(block, str) or block.get("type") == "text"
    )
