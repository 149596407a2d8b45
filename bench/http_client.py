"""A lightweight HTTP/1.1 client for server-sent events: the load generator shares the cores with what it measures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import httptools

OnFrame = Callable[[bytes], None]


class Connection(asyncio.Protocol):
    """One connection with one key, one request at a time. Frames of a stream are passed to the request's `on_frame` as received,
    without the empty line after them.

    A server may close a connection that is idle (RFC 9112, section 9.5); the next request opens it again.
    """

    def __init__(self, url: str, key: str) -> None:
        self._address, self._key = urlsplit(url), key
        self._on_frame: OnFrame | None = None
        self._body = b""
        self._status: asyncio.Future[int] | None = None
        self._over: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, url: str, key: str) -> Connection:
        """Connects to a gateway."""
        made = cls(url, key)
        await made._connect()
        return made

    async def _connect(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        loop, address = asyncio.get_running_loop(), self._address
        await loop.create_connection(lambda: self, address.hostname, address.port or 80)

    @property
    def is_connected(self) -> bool:
        """Whether neither side has closed the connection."""
        return self._transport is not None and not self._transport.is_closing()

    async def send(self, method: str, path: str, body: object = None, on_frame: OnFrame | None = None) -> int:
        """Sends a request and returns the status as soon as the response begins."""
        if not self.is_connected:
            await self._connect()
        assert self._transport
        loop = asyncio.get_running_loop()
        self._on_frame, self._body = on_frame, b""
        self._status, self._over = loop.create_future(), loop.create_future()
        payload = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\nx-api-key: {self._key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        self._transport.write(head.encode() + payload)
        return await self._status

    async def over(self) -> bytes:
        """Waits for the end of the response; returns its body unless it is a stream. Raises ConnectionError if it was cut off."""
        assert self._over, "no request was sent"
        return await self._over

    @property
    def is_open(self) -> bool:
        """Whether the response is still open."""
        return self._over is not None and not self._over.done()

    def close(self) -> None:
        """Closes the connection."""
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in (self._status, self._over):
            if waiting and not waiting.done():
                waiting.set_exception(exc or ConnectionResetError("the gateway closed the connection"))
                waiting.exception()  # closed on this side: nobody awaits the error

    def on_headers_complete(self) -> None:
        if self._status and not self._status.done():
            self._status.set_result(self._parser.get_status_code())

    def on_body(self, body: bytes) -> None:
        self._body += body
        if self._on_frame:
            *frames, self._body = self._body.split(b"\n\n")
            for frame in frames:
                self._on_frame(frame)

    def on_message_complete(self) -> None:
        if self._over and not self._over.done():
            self._over.set_result(self._body)
