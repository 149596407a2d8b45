"""The rules as a LangChain chat model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    UsageMetadata,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from connectors.models.rules.intents import is_spanish
from connectors.models.rules.plans import Call, Conversation, Done, as_made, next_step
from schemas.common.clock import utc_now
from threads.enclosure import bare_text

NAME = "cauce-rules"


_DATE = re.compile(r"\bIt is \w+, (\d{4}-\d{2}-\d{2})\b")
"""The day in the system prompt, which is the user's (`processors.turns.profile`)."""


def _today(messages: Sequence[BaseMessage]) -> date:
    """The day that the system prompt names; otherwise the day in UTC, regardless of this machine's time zone."""
    for message in messages:
        if isinstance(message, SystemMessage) and (found := _DATE.search(str(message.content))):
            with contextlib.suppress(ValueError):
                return date.fromisoformat(found[1])
    return utc_now().date()


class RulesChatModel(BaseChatModel):
    """Answers by rules. One object may serve any number of threads concurrently: it keeps no state of a conversation."""

    tools: frozenset[str] = frozenset()
    today: Callable[[], date] | None = Field(default=None, exclude=True)
    """Today's date; taken from the system prompt when absent."""

    @property
    def _llm_type(self) -> str:
        return "rules"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> RulesChatModel:
        """A copy that may call these tools, given in any form that LangChain accepts."""
        names = frozenset(convert_to_openai_tool(t)["function"]["name"] for t in tools)
        return self.model_copy(update={"tools": names})

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        step = next_step(self._read(messages))
        if isinstance(step, Call):
            seed = f"{len(messages)}:{step.name}:{json.dumps(step.arguments, sort_keys=True)}"
            call_id = f"call_{hashlib.blake2b(seed.encode(), digest_size=8).hexdigest()}"
            reply = AIMessage("", tool_calls=[{"name": step.name, "args": step.arguments, "id": call_id}])
        else:
            reply = AIMessage(step.text)
        counts = [sum(len(str(m.content).split()) for m in messages), max(1, len(str(reply.content).split()))]
        reply.usage_metadata = UsageMetadata(
            input_tokens=counts[0], output_tokens=counts[1], total_tokens=counts[0] + counts[1]
        )
        reply.response_metadata = {"model_name": NAME}
        return reply

    def _read(self, messages: list[BaseMessage]) -> Conversation:
        """The conversation in the form that the rules use."""
        said = [n for n, m in enumerate(messages) if isinstance(m, HumanMessage)]
        last = said[-1] if said else len(messages)
        calls: dict[str, tuple[str, dict[str, Any]]] = {}
        done: list[tuple[int, Done]] = []
        for n, message in enumerate(messages):
            if isinstance(message, AIMessage):
                calls |= {str(c["id"]): (c["name"], c["args"]) for c in message.tool_calls}
            elif isinstance(message, ToolMessage) and message.tool_call_id in calls:
                name, arguments = calls[message.tool_call_id]
                arguments, content = as_made(arguments, bare_text(str(message.content)))
                done.append((n, Done(name, arguments, content, message.status == "error")))
        return Conversation(
            text=bare_text(str(messages[last].content)) if said else "",
            spanish=is_spanish([bare_text(str(messages[n].content)) for n in said]),
            since=[d for n, d in done if n > last],
            earlier=[d for n, d in done if n < last],
            tools=self.tools,
            today=self.today() if self.today else _today(messages),
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply = self._reply(messages)
        pieces = re.findall(r"\S+\s*|\s+", str(reply.content)) or [""]
        for n, piece in enumerate(pieces):
            last = n == len(pieces) - 1
            chunk = AIMessageChunk(
                content=piece,
                tool_call_chunks=[
                    {
                        "name": c["name"],
                        "args": json.dumps(c["args"]),
                        "id": c["id"],
                        "index": i,
                        "type": "tool_call_chunk",
                    }
                    for i, c in enumerate(reply.tool_calls)
                ],
                usage_metadata=reply.usage_metadata if last else None,
                response_metadata=reply.response_metadata if last else {},
            )
            generated = ChatGenerationChunk(message=chunk)
            if run_manager and piece:
                await run_manager.on_llm_new_token(piece, chunk=generated)
            yield generated
