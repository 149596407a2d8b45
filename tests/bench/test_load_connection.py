"""The load generator's connection."""

from __future__ import annotations

import asyncio

from bench.http_client import Connection

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_connection_that_the_server_closed_while_it_was_idle_is_opened_again() -> None:
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(120):
        connection = await Connection.open(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key")
        for _ in range(3):
            assert (await connection.send("GET", "/"), await connection.over()) == (200, b"ok")
            while connection.is_connected:
                await asyncio.sleep(0.001)
        assert opened == 3
