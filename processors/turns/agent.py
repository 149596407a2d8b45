"""The LangGraph agent: compiled once, the same object for all tenants; what differs comes in by context.

Tools are given as schemas only, so the graph ends when the model asks for tools: nothing waits inside it, nothing is
checkpointed, and the pipeline makes the calls (DESIGN section 5).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages import ToolCall as LangChainToolCall

from processors.turns.answers import Answer, AskedTool
from schemas import Message, TokenUsage

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


class _FromContext(AgentMiddleware[Any, TurnContext]):
    """Puts the tenant's model, instructions and tools into the call."""

    async def awrap_model_call(
        self,
        request: ModelRequest[TurnContext],
        handler: Callable[[ModelRequest[TurnContext]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        context = request.runtime.context
        return await handler(
            request.override(
                model=context.model,
                system_message=SystemMessage(context.instructions),
                tools=[dict(t) for t in context.tools],
            )
        )


class Agent:
    """Runs one leg: from a history to the model's next message."""

    def __init__(self, placeholder: BaseChatModel) -> None:
        """`placeholder` is what the graph is compiled with; every call replaces it."""
        self._graph = create_agent(placeholder, tools=[], middleware=[_FromContext()], context_schema=TurnContext)

    async def leg(self, history: Sequence[Message], context: TurnContext, on_text: OnText) -> Answer:
        """Asks the model. `on_text` gets the answer piece by piece. Raises what the model raises."""
        inputs = {"messages": [to_langchain(m) for m in history]}
        pieces = _Pieces(on_text)
        final: AIMessage | None = None
        async for mode, chunk in self._graph.astream(inputs, context=context, stream_mode=["messages", "values"]):  # type: ignore[call-overload]
            if mode == "messages":
                message, _ = chunk
                if isinstance(message, AIMessageChunk) and (text := text_of(message)):
                    pieces.add(text)
            elif isinstance(last := chunk["messages"][-1], AIMessage):
                final = last
        pieces.flush()
        if final is None:
            raise RuntimeError("the model gave no message")
        return to_answer(final)


class _Pieces:
    def __init__(self, on_text: OnText) -> None:
        self._on_text, self._parts, self._sent = on_text, list[str](), float("-inf")

    def add(self, text: str) -> None:
        self._parts.append(text)
        if time.monotonic() - self._sent >= DELTA_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            self._on_text("".join(self._parts))
            self._parts.clear()
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
    """The model's message as a transition needs it; calls whose arguments are not JSON come with the problem."""
    asked = [AskedTool(c["name"], dict(c["args"])) for c in message.tool_calls]
    for broken in message.invalid_tool_calls:
        problem = f"The arguments were not valid JSON ({broken.get('error') or 'unreadable'}); write the call again."
        asked.append(AskedTool(broken.get("name") or "unknown", {}, problem[:500]))
    usage = message.usage_metadata
    counted = TokenUsage()
    if usage:
        counted = TokenUsage(input_tokens=usage["input_tokens"], output_tokens=usage["output_tokens"])
    model = message.response_metadata.get("model_name") if message.response_metadata else None
    return Answer(text_of(message), tuple(asked), counted, model)


def text_of(message: AIMessage) -> str:
    """The text of a message whose content may be a list of blocks."""
    if isinstance(message.content, str):
        return message.content
    return "".join(
        block if isinstance(block, str) else block.get("text", "")
        for block in message.content
        if isinstance(block, str) or block.get("type") == "text"
    )
