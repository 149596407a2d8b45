"""A connection to Cassandra that loses what it is told to lose, and counts what goes through."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal, Self

Loss = Literal["request", "answer"]


class CqlProxy:
    """Listens on a free port of 127.0.0.1 and forwards to `port`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._marker: bytes | None = None
        self._loss: Loss = "answer"
        self._passing = 0
        self.sent = 0
        self.losses = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def lose(self, loss: Loss, marker: str, *, after: int = 0) -> None:
        """Cuts the connection at a request with `marker` in it: before it is forwarded, or before its answer.

        `after` requests with the marker pass before that one.
        """
        self._loss, self._marker, self._passing = loss, marker.encode(), after

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cuts the connections that are left: the driver leaves one that it makes at the moment its session ends."""
        assert self._server
        server, self._server = self._server, None
        server.close()
        async with asyncio.timeout(120):
            while self._clients:
                for writer in self._clients.values():
                    writer.transport.abort()  # its reads end; a cancelled task of a server would be reported by asyncio
                await asyncio.wait(self._clients)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        if self._server is None:
            writer.transport.abort()
            return
        self._clients[task] = writer
        try:
            with suppress(OSError):
                await self._serve(reader, writer)
        finally:
            writer.close()
            del self._clients[task]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        mute = asyncio.Event()
        ways = [
            asyncio.create_task(self._requests(reader, server_writer, mute)),
            asyncio.create_task(self._answers(server_reader, writer, mute)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            server_writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mute: asyncio.Event) -> None:
        while data := await reader.read(65_536):
            marked = self._marker is not None and self._marker in data
            if marked and self._passing:
                self._passing -= 1
            elif marked:
                self._marker = None
                self.losses += 1
                if self._loss == "request":
                    return
                mute.set()
            self.sent += len(data)
            writer.write(data)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mute: asyncio.Event) -> None:
        while data := await reader.read(65_536):
            if mute.is_set():
                return
            writer.write(data)
            await writer.drain()
