"""The services of the examples in docs/extending.md: JSON over HTTP, each as small as it can be."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, Any] | None
"""Status and JSON; None where the connection breaks instead."""


class SmallServer:
    """Answers each request with what `answer` says. The next request is refused or loses its answer where a test says so."""

    faulty = "POST"
    """The method of the requests that this may happen to."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._loses = self._busy = False

    def answer(self, method: str, query: Mapping[str, str], body: dict[str, Any]) -> Answer:
        raise NotImplementedError

    async def lose_answer(self) -> None:
        self._loses = True

    async def be_busy(self) -> None:
        self._busy = True

    async def find(self, **wanted: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if all(str(row.get(name)) == value for name, value in wanted.items())]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its address."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            writer.close()
            return
        method, target, _ = head.splitlines()[0].split()
        length = next((int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:")), 0)
        body = json.loads(await reader.readexactly(length)) if length else {}
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if method == self.faulty and self._busy:
            self._busy, answer = False, (429, "busy")
        else:
            answer = self.answer(method, query, body)
            if method == self.faulty and self._loses:
                self._loses, answer = False, None
        if answer is None:
            writer.transport.abort()
            return
        status, value = answer
        content = json.dumps(value).encode()
        writer.write(
            f"HTTP/1.1 {status} x\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n".encode() + content
        )
        await writer.drain()
        writer.close()


class Notes(SmallServer):
    """Keeps notes, and finds them by the fields of the query."""

    def answer(self, method: str, query: Mapping[str, str], body: dict[str, Any]) -> Answer:
        if method == "GET":
            return 200, [row for row in self.rows if all(row.get(name) == value for name, value in query.items())]
        if not isinstance(body["text"], str):
            return 422, "a note has a text"
        self.rows.append({**body, "id": secrets.token_hex(4)})
        return 200, self.rows[-1]


class Weather(SmallServer):
    """Tells the weather of a place."""

    faulty = "GET"

    def answer(self, method: str, query: Mapping[str, str], body: dict[str, Any]) -> Answer:
        if not query.get("place"):
            return 422, "which place?"
        return 200, "sunny"


class Doorbell(SmallServer):
    """Tells who has rung, from a number on."""

    def ring(self, tenant: str, user: str, said: str) -> dict[str, Any]:
        number = len(self.rows) + 1
        at = datetime.now(UTC).isoformat()
        ring = {"number": number, "id": f"ring-{number}", "tenant": tenant, "user": user, "said": said, "at": at}
        self.rows.append(ring)
        return ring

    def answer(self, method: str, query: Mapping[str, str], body: dict[str, Any]) -> Answer:
        return 200, self.rows[int(query.get("after", "0")) :]


class Pager(SmallServer):
    """Takes texts for those who carry a pager, one for each key."""

    def answer(self, method: str, query: Mapping[str, str], body: dict[str, Any]) -> Answer:
        if method == "GET":
            return 200, []
        if body["to"].endswith("/nobody"):
            return 404, "no pager"
        if body["key"] not in [row["key"] for row in self.rows]:
            self.rows.append(body)
        return 200, "taken"
