"""What a caller may send is bounded by the server that really runs: one byte more than the limit is refused."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from streams.health import LIMITS, Health, HealthServer
from streams.http_server import HttpLimits, make_server

FAST = HttpLimits(head_seconds=0.3, body_seconds=0.3)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.01)


class Served:
    """A running server; `requests` has the bodies that the application has read to their end."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[bytes] = []

    async def app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.requests.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving(limits: HttpLimits) -> AsyncIterator[Served]:
    served = Served()
    sock = socket.create_server(("127.0.0.1", 0))
    served.port = sock.getsockname()[1]
    server = make_server(served.app, limits, interface="asgi3", log_level="critical", lifespan="off")
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:

        async def started() -> bool:
            return server.started

        await eventually(started)
        yield served
    finally:
        server.should_exit = True
        await task


async def answers(served: Served, *pieces: bytes) -> tuple[int, str]:
    """The status and the code of what comes back for these bytes, until the server closes or the answer is there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await answer(reader)
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    body = await reader.readexactly(int(lengths[0].split(b":")[1]))
    status = int(head.split(b" ")[1])
    return status, json.loads(body)["code"] if b"problem+json" in head else body.decode()


def request(head_bytes: int, *, address: bool = False) -> bytes:
    """A request whose address and headers, framing of headers included, have this size."""
    host = b"host: x\r\n"
    if address:
        return b"GET /" + b"a" * (head_bytes - 1 - len(host)) + b" HTTP/1.1\r\n" + host + b"\r\n"
    filled = b"x-a: " + b"a" * (head_bytes - 1 - len(host) - len(b"x-a: \r\n")) + b"\r\n"
    return b"GET / HTTP/1.1\r\n" + host + filled + b"\r\n"


@pytest.mark.parametrize("address", [True, False], ids=["address", "header"])
async def test_address_and_headers_have_a_limit_and_one_byte_more_is_431(address: bool) -> None:
    limits = HttpLimits(head_bytes=4_000)
    async with serving(limits) as served:
        assert await answers(served, request(4_000, address=address)) == (200, "ok")
        assert await answers(served, request(4_001, address=address)) == (431, "head_too_large")


async def test_one_header_more_than_allowed_is_431() -> None:
    async with serving(HttpLimits(headers=10)) as served:
        ten = b"".join(b"x-%d: 1\r\n" % n for n in range(10))
        assert await answers(served, b"GET / HTTP/1.1\r\n" + ten + b"\r\n") == (200, "ok")
        assert await answers(served, b"GET / HTTP/1.1\r\n" + ten + b"y: 1\r\n\r\n") == (431, "too_many_headers")


@pytest.mark.parametrize(
    "begins", [b"GET /", b"GET / HTTP/1.1\r\nx-a: ", b"\r\n"], ids=["address", "header", "empty lines"]
)
async def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(begins: bytes) -> None:
    async with serving(HttpLimits()) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(begins)
        sent = 0
        more = (b"\r\n" if begins == b"\r\n" else b"aa") * 8_192
        try:
            while sent < 64 << 20 and not reader.at_eof():
                writer.write(more)
                await writer.drain()
                sent += len(more)
        except ConnectionError:
            pass
        assert sent < 16 << 20  # what the sockets of both sides hold, and no more
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"], ids=["nothing", "half a head"])
async def test_a_head_that_does_not_come_in_time_is_408(sent: bytes) -> None:
    async with serving(FAST) as served:
        assert await answers(served, sent) == (408, "head_too_slow")


async def test_a_head_has_its_time_again_on_a_connection_that_is_kept() -> None:
    async with serving(FAST) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTT")
        assert await answer(reader) == (200, "ok")
        assert await answer(reader) == (408, "head_too_slow")
        writer.close()


async def test_a_body_that_does_not_come_in_time_is_408() -> None:
    async with serving(FAST) as served:
        whole = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"
        assert await answers(served, whole + b"12345") == (200, "ok")
        assert await answers(served, whole, b"1234") == (408, "body_too_slow")
        assert served.requests == [b"12345"]


async def test_what_frames_a_chunked_body_has_a_limit() -> None:
    async with serving(HttpLimits(head_bytes=4_000)) as served:
        head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        single = b"1\r\na\r\n" * 20_000
        assert await answers(served, head, single, b"0\r\n\r\n") == (200, "ok")
        assert served.requests == [b"a" * 20_000]
        assert await answers(served, head, b"0\r\nx-t: " + b"a" * 5_000, b"\r\n\r\n") == (431, "head_too_large")
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head + b"1;")
        with contextlib.suppress(ConnectionError):
            for _ in range(1_000):
                writer.write(b"a" * 64_000)
                await writer.drain()
            pytest.fail("64 MB of a chunk's head were taken")
        writer.close()


async def test_connections_of_one_address_have_a_limit_and_an_ended_one_makes_room() -> None:
    async with serving(HttpLimits(connections_per_address=3)) as served:
        three = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(3)]
        for reader, writer in three:
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert await answer(reader) == (200, "ok")
        assert await answers(served) == (503, "too_many_connections")
        three[0][1].close()

        async def in_again() -> bool:
            return await answers(served, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n") == (200, "ok")

        await eventually(in_again)
        for _, writer in three[1:]:
            writer.close()


async def test_all_connections_have_a_limit() -> None:
    async with serving(HttpLimits(connections=2)) as served:
        two = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(2)]
        for reader, writer in two:
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert await answer(reader) == (200, "ok")
        assert await answers(served) == (503, "too_many_connections")
        for _, writer in two:
            writer.close()


async def test_an_answer_is_never_taken_for_another_requests() -> None:
    async with serving(HttpLimits(head_bytes=4_000)) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc" + request(4_001))
        with contextlib.suppress(asyncio.IncompleteReadError):  # closed without an answer to either
            assert await answer(reader) == (200, "ok")
        writer.close()


async def test_health_pages_have_the_limits_too() -> None:
    pages = HealthServer(Health(), CollectorRegistry())
    await pages.start()
    try:
        served = Served()
        served.port = int(pages.address.rpartition(":")[2])
        assert (await answers(served, request(LIMITS.head_bytes)))[0] == 404
        assert (await answers(served, request(LIMITS.head_bytes + 1)))[0] == 431
    finally:
        await pages.stop()


def test_nobody_else_makes_an_http_server() -> None:
    root, one_place = Path(__file__).parents[2], "streams/http_server.py"
    emulators = "connectors/emulators/__main__.py"  # of this machine alone, with h11, which bounds a head
    rooms = ("schemas", "threads", "state", "streams", "core", "connectors", "processors", "cauce")
    makers = ("uvicorn.Config", "uvicorn.Server", "uvicorn.run")
    found = {
        str(path.relative_to(root))
        for room in rooms
        for path in (root / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in makers
    }
    assert found == {one_place, emulators}, f"take make_server of {one_place}"
