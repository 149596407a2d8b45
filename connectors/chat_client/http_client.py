"""The chat client over HTTP, used by `cauce chat --url`. It reconnects when its gateway goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import httpx

from connectors.chat_client.kafka_client import Event, Unread
from schemas import (
    TERMINAL_TYPES,
    ApprovalRequested,
    Delta,
    Message,
    NotFound,
    RunPaused,
    ServerTrouble,
    SettingsError,
    ThreadEvent,
    ThreadSummary,
    Topic,
    Unavailable,
    body_type,
    new_id,
)

_RETRY = 1.0
_LAST = TERMINAL_TYPES | {RunPaused.TYPE}
"""Types of events that end or pause a run."""


class HttpChatClient:
    """Acts as the user of an API key."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._read: dict[str, str] = {}
        """Read positions of paused runs."""
        self._http = httpx.AsyncClient(
            base_url=self._url, headers={"x-api-key": key}, timeout=httpx.Timeout(30, read=60), trust_env=False
        )

    async def open(self) -> None:
        """Looks up the key's user. Raises `SettingsError` for an invalid key, `Unavailable` if the gateway does not answer."""
        await self._call("GET", "/v1/me")

    async def close(self) -> None:
        """Closes the connection."""
        await self._http.aclose()

    async def send(self, thread_id: str, text: str) -> str:
        """Sends a message, creating the thread if it is new; returns the id of its run."""
        key, path = new_id("m"), f"/v1/threads/{thread_id}/messages"
        headers = {"Idempotency-Key": key}
        try:
            answer = await self._call("POST", path, json={"text": text}, headers=headers)
        except NotFound:
            await self._call("POST", "/v1/threads", json={"thread_id": thread_id})
            answer = await self._call("POST", path, json={"text": text}, headers=headers)
        return str(answer["run_id"])

    async def decide(
        self,
        thread_id: str,
        call_id: str,
        decision: Literal["approve", "edit", "reject", "respond"],
        *,
        arguments: dict[str, Any] | None = None,
        message: str | None = None,
    ) -> None:
        """Decides on a tool call that needs approval."""
        body = {"decision": decision, "arguments": arguments, "message": message}
        await self._call("POST", f"/v1/threads/{thread_id}/approvals/{call_id}", json=body)

    async def cancel(self, thread_id: str, run_id: str) -> None:
        """Stops a run."""
        await self._call("POST", f"/v1/threads/{thread_id}/runs/{run_id}/cancel")

    async def events(self, thread_id: str, run_id: str) -> AsyncIterator[Event]:
        """Future events of a run, until it ends or pauses."""
        position = self._read.get(run_id)
        while True:
            try:
                async for event, reached in self._stream(thread_id, run_id, position):
                    position = reached
                    self._read = {run_id: position} if position else {}
                    yield event
                    if isinstance(event, Unread):
                        if event.ends:
                            return
                    elif event.TYPE in _LAST:
                        return
            except (httpx.TransportError, ServerTrouble):
                pass
            await asyncio.sleep(_RETRY)

    async def refused(self, run_id: str) -> str:
        """Never returns: over HTTP a message that is not accepted is rejected when it is sent."""
        await asyncio.Event().wait()
        return run_id

    async def threads(self, *, limit: int) -> list[ThreadSummary]:
        """The user's threads, most recently changed first."""
        answer = await self._call("GET", "/v1/threads", params={"limit": limit})
        return [
            ThreadSummary(user_id="me", condition=t["status"], **{k: v for k, v in t.items() if k != "status"})
            for t in answer["threads"]
        ]

    async def messages(self, thread_id: str, *, limit: int) -> list[Message]:
        """The newest messages of a thread, oldest first."""
        try:
            answer = await self._call("GET", f"/v1/threads/{thread_id}/messages", params={"limit": limit})
        except NotFound:
            return []
        return [Message.model_validate({**m, "tool_calls": tuple(m["tool_calls"])}) for m in answer["messages"]]

    async def open_approvals(self, thread_id: str) -> tuple[list[ApprovalRequested], str | None]:
        """The tool calls of the thread that need approval, and their run."""
        answer = (await self._call("GET", "/v1/approvals"))["approvals"]
        mine = [a for a in answer if a["thread_id"] == thread_id]
        asked = [
            ApprovalRequested.model_validate(
                {
                    "seq": 1,
                    "run_id": a["run_id"],
                    "user_id": "me",
                    "at": "2000-01-01T00:00:00Z",
                    "call_id": a["call_id"],
                    "name": a["tool"],
                    "arguments": a["arguments"],
                    "concerns": a.get("concerns", {}),
                }
            )
            for a in mine
        ]
        self._read |= {a["run_id"]: str(a["last_event"]) for a in mine}
        return asked, mine[0]["run_id"] if mine else None

    async def _stream(
        self, thread_id: str, run_id: str, position: str | None
    ) -> AsyncIterator[tuple[Event, str | None]]:
        headers = {"Last-Event-ID": position} if position else {}
        path = f"/v1/threads/{thread_id}/runs/{run_id}/stream"
        async with self._http.stream("GET", path, headers=headers) as response:
            if response.status_code != 200:
                await response.aread()
                raise self._error(response)
            kind, data = "", ""
            async for line in _lines(response):
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data = value
                elif name == "id":
                    position = value
                elif not line and data:
                    if event := _event(kind, data):
                        yield event, position
                    kind, data = "", ""

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.TransportError as error:
            why = str(error).removesuffix(".") or type(error).__name__
            raise Unavailable(
                f"the gateway at {self._url} does not answer: {why}. Check the address (http://host:port), and that `cauce up` "
                "or `cauce gateway` is running there"
            ) from error
        if response.is_error:
            raise self._error(response)
        return response.json() if response.content else None

    def _error(self, response: httpx.Response) -> Exception:
        try:
            detail = response.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"the gateway answered {response.status_code}"
        if response.status_code == 404:
            return NotFound(detail)
        return SettingsError(detail) if response.status_code in (401, 403) else Unavailable(detail)


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Lines of a stream, separated only by line feeds: httpx also splits at U+2028 and others, which may occur in text."""
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode(errors="replace")


def _event(kind: str, data: str) -> Event | None:
    """An event, or `Unread` for one that cannot be decoded."""
    try:
        return _read(kind, data)
    except (ValueError, KeyError, TypeError) as error:
        return Unread(f"a part ({kind}) cannot be read: {type(error).__name__}", ends=f"cauce.{kind}" in _LAST)


def _read(kind: str, data: str) -> Event | None:
    if kind == "message.delta":
        piece = json.loads(data)
        names = ("run_id", "message_id", "attempt", "text")
        return Delta(turn=1, index=piece["offset"], **{name: piece[name] for name in names})
    model = body_type(Topic.CHAT_RESPONSES, f"cauce.{kind}")
    event = model.model_validate_json(data) if model else None
    return event if isinstance(event, ThreadEvent) else None
