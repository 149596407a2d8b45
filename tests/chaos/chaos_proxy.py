"""A TCP proxy that can cut, delay and silence what goes through it. One for each way from a worker to a server."""

from __future__ import annotations

import asyncio
import contextlib


class Proxy:
    """Forwards a port of 127.0.0.1 to another."""

    def __init__(self, port: int, target: int) -> None:
        self.port, self._target = port, target
        self.latency = 0.0
        """Seconds that each piece is held back, both ways."""
        self._passing = asyncio.Event()
        self._passing.set()
        self._refusing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Closes everything."""
        assert self._server
        self._server.close()
        self.cut_connections()

    def cut_connections(self) -> None:
        """Resets what is open; new connections are fine."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self) -> None:
        """Resets what is open and what comes."""
        self._refusing = True
        self.cut_connections()

    def silence(self) -> None:
        """Half-open: connections stay, and nothing passes."""
        self._passing.clear()

    def heal(self) -> None:
        """All is well again."""
        self.latency, self._refusing = 0.0, False
        if not self._passing.is_set():
            self._passing.set()
            self.cut_connections()  # whoever waited on a silent connection has a dead one

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        self._writers.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(there)
            ways = [asyncio.ensure_future(self._pass(reader, there)), asyncio.ensure_future(self._pass(back, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
        except OSError:
            pass  # the server is away
        finally:
            for end in (writer, there):
                if end:
                    self._writers.discard(end)
                    with contextlib.suppress(Exception):
                        end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                await self._passing.wait()
                if self.latency:
                    await asyncio.sleep(self.latency)
                writer.write(piece)
                await writer.drain()
