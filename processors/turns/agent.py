"""The LangGraph agent: compiled once, the same object for all tenants; what differs comes in by context.

Tools are given as schemas only, so the graph ends when the model asks for tools: nothing waits inside it, nothing is
checkpointed, and the pipeline makes the calls (docs/architecture.md). LangChain's `create_agent` would make the same graph
around a loop over tools that never runs here; with the middleware that it needs for a model per call it costs twice the CPU
(docs/performance.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from processors.turns.model_answers import to_answer
from processors.turns.model_history import to_history
from processors.turns.written import Gathered, Written, words_of
from schemas import Message, storable_text
from threads.answers import Answer

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
    model_key: str = ""
    """Names the model: what its provider gave with a message goes back to no other."""


class _State(TypedDict, total=False):
    messages: list[AnyMessage]
    answer: Written


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
        inputs: _State = {"messages": to_history(history, context.model_key)}
        state = await self._graph.ainvoke(inputs, context=context)
        return to_answer(state["answer"], context.model_key)


async def _ask(state: _State, runtime: Runtime[TurnContext]) -> _State:
    context = runtime.context
    pieces = _Pieces(context.on_text)
    model = context.model.bind_tools([dict(t) for t in context.tools]) if context.tools else context.model
    gathered = Gathered()
    async for piece in model.astream([SystemMessage(context.instructions), *state["messages"]]):
        gathered.add(piece)
        if text := words_of(piece):
            pieces.add(text)
    pieces.flush(last=True)
    return {"answer": gathered.whole()}


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
