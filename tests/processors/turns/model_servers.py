"""Servers on loopback that answer as OpenAI and Anthropic do, by a script, and remember what they were asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.language_models import BaseChatModel

from connectors.models import ModelChoice, chat_model


class Refusal:
    """An answer with an error's status."""

    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body


class ModelServer:
    """Answers the n-th request with the n-th step of the script, and every later one with the last. A step is the list of a
    stream's events, or a `Refusal`."""

    def __init__(self, script: Sequence[Any], named: bool) -> None:
        self._script, self._named = script, named
        self.asked: list[dict[str, Any]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split()[0])
        self.asked.append(json.loads(await reader.readexactly(length)))
        step = self._script[min(len(self.asked), len(self._script)) - 1]
        if callable(step):
            step = step(self.asked[-1])
        if isinstance(step, Refusal):
            body, kind, status = json.dumps(step.body).encode(), "application/json", step.status
        else:
            body, kind, status = b"".join(map(self._event, step)), "text/event-stream", 200
            body += b"" if self._named else b"data: [DONE]\n\n"
        writer.write(
            f"HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        writer.close()

    def _event(self, event: dict[str, Any]) -> bytes:
        name = f"event: {event['type']}\n" if self._named else ""
        return f"{name}data: {json.dumps(event)}\n\n".encode()

    def model(self, **options: Any) -> BaseChatModel:
        if self._named:
            return chat_model(ModelChoice("anthropic:fake", f"http://127.0.0.1:{self.port}", "k", **options))
        return chat_model(ModelChoice("openai:fake", f"http://127.0.0.1:{self.port}/v1", "k", **options))


@asynccontextmanager
async def openai_server(*script: Any) -> AsyncIterator[ModelServer]:
    async with _serving(ModelServer(script, named=False)) as server:
        yield server


@asynccontextmanager
async def anthropic_server(*script: Any) -> AsyncIterator[ModelServer]:
    async with _serving(ModelServer(script, named=True)) as server:
        yield server


@asynccontextmanager
async def _serving(server: ModelServer) -> AsyncIterator[ModelServer]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=2**24) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


def says(*texts: str, finish: str | None = "stop", usage: tuple[int, int] | None = (10, 5)) -> list[dict[str, Any]]:
    """A stream of OpenAI's with these pieces of text."""
    return [*(_chunk({"content": text}) for text in texts), *_last(finish, usage)]


def refuses(*texts: str) -> list[dict[str, Any]]:
    """A stream of OpenAI's that refuses in these pieces."""
    return [*(_chunk({"content": None, "refusal": text}) for text in texts), *_last("stop", (10, 5))]


def calls(
    *pieces: dict[str, Any], finish: str | None = "tool_calls", usage: tuple[int, int] | None = (10, 5)
) -> list[Any]:
    """A stream of OpenAI's with these pieces of calls: `index`, `id`, `name`, `args`, those that are there."""
    made = []
    for piece in pieces:
        function = {wire: piece[ours] for ours, wire in (("name", "name"), ("args", "arguments")) if ours in piece}
        made.append({k: piece[k] for k in ("index", "id") if k in piece} | {"type": "function", "function": function})
    return [*(_chunk({"tool_calls": [call]}) for call in made), *_last(finish, usage)]


def _last(finish: str | None, usage: tuple[int, int] | None) -> list[dict[str, Any]]:
    last = [_chunk({}, finish)]
    if usage:
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        last.append({**_chunk({}), "choices": [], "usage": counts})
    return last


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": [choice]}


def anthropic_stream(*blocks: dict[str, Any], stop: str = "end_turn") -> list[dict[str, Any]]:
    """A stream of Anthropic's with these content blocks, each in one piece."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "fake",
        "content": [],
        "stop_reason": None,
    }
    events = [{"type": "message_start", "message": {**message, "usage": {"input_tokens": 10, "output_tokens": 1}}}]
    for index, block in enumerate(blocks):
        kind = block["type"]
        empty = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}, "tool_use": {"input": {}}}[kind]
        start = {**{k: v for k, v in block.items() if k in ("type", "id", "name")}, **empty}
        deltas: list[dict[str, Any]] = []
        if kind == "thinking":
            deltas.append({"type": "thinking_delta", "thinking": block["thinking"]})
            if "signature" in block:
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif kind == "text":
            deltas.append({"type": "text_delta", "text": block["text"]})
        else:
            deltas.append({"type": "input_json_delta", "partial_json": block["json"]})
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": stop, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 20}})
    return [*events, {"type": "message_stop"}]
