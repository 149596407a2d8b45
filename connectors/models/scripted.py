"""A scripted chat model for measurements and fault tests: it waits, calls one tool, and answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from schemas import SettingsError


class ScriptedChatModel(BaseChatModel):
    """Named `scripted:delay=0.2,tool=Bench_Echo,calls=1,tokens=0,fail=0`, every part optional.

    After a user message it requests `calls` calls of `tool` (none if empty) with the message's text; after a tool's result it
    answers "done".
    Each call takes `delay` seconds; an answer is streamed in `tokens` pieces when that is set; the first `fail` calls raise.
    """

    delay: float = 0.0
    tool: str = ""
    calls: int = 1
    tokens: int = 0
    fail: int = 0
    _made: int = PrivateAttr(default=0)

    @classmethod
    def parse(cls, text: str) -> ScriptedChatModel:
        """Reads the part of the name after `scripted:`. Raises `SettingsError`."""
        try:
            options: dict[str, Any] = dict(part.split("=", 1) for part in text.split(",") if part)
            unknown = set(options) - {"delay", "tool", "calls", "tokens", "fail"}
            if unknown:
                raise ValueError(f"unknown part {sorted(unknown)[0]!r}")
            return cls(**options)
        except ValueError as error:
            raise SettingsError(f"the model 'scripted:{text}' is not understood: {error}") from error

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> ScriptedChatModel:
        """Ignores the tools: the script names the one to call."""
        return self

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        self._made += 1
        if self._made <= self.fail:
            raise RuntimeError(f"scripted failure {self._made} of {self.fail}")
        usage = UsageMetadata(input_tokens=10, output_tokens=5, total_tokens=15)
        if self.tool and not isinstance(messages[-1], ToolMessage):
            text = str(messages[-1].content)
            asked = [{"name": self.tool, "args": {"text": text}, "id": f"c{n}"} for n in range(self.calls)]
            return AIMessage("", tool_calls=asked, usage_metadata=usage)
        return AIMessage("done " * max(1, self.tokens), usage_metadata=usage)

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
        await asyncio.sleep(self.delay)
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply = self._reply(messages)
        pieces = self.tokens if self.tokens and not reply.tool_calls else 1
        for n in range(pieces):
            await asyncio.sleep(self.delay / pieces)
            last = n == pieces - 1
            text = "done " if pieces > 1 else str(reply.content)
            chunk = AIMessageChunk(
                content=text,
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
            )
            generated = ChatGenerationChunk(message=chunk)
            if run_manager and text:
                await run_manager.on_llm_new_token(text, chunk=generated)
            yield generated
