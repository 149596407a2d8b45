"""A store's threads and places are shared: of a tenant's thousand reads or writes another's first waits for one, not for all."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.common.turns import serve
from state.cassandra.connecting import CassandraOptions
from state.cassandra.queries import Kind
from state.cassandra.session import Session
from state.sqlite.connection import File
from state.sqlite.readers import Readers
from state.sqlite.writer import _GROUP, Writer


async def served(tenant: str, work: Callable[[], Any]) -> Any:
    serve(tenant, "u")
    return await work()


async def test_reads_of_a_tenant_that_reads_a_lot_take_turns_with_anothers(tmp_path: Path) -> None:
    readers, gate, order = Readers(File(tmp_path / "file"), threads=1), threading.Event(), list[str]()

    def read(name: str) -> Callable[[sqlite3.Connection], str]:
        def work(_: sqlite3.Connection) -> str:
            assert gate.wait(120)
            order.append(name)
            return name

        return work

    readers.start()
    loud = [asyncio.create_task(served("loud", lambda: readers.run(read("loud")))) for _ in range(200)]
    given_up = asyncio.create_task(served("loud", lambda: readers.run(read("given up"))))
    await asyncio.sleep(0)
    quiet = asyncio.create_task(served("quiet", lambda: readers.run(read("quiet"))))
    await asyncio.sleep(0)
    given_up.cancel()
    gate.set()
    assert await quiet == "quiet"
    assert await asyncio.gather(*loud) == ["loud"] * 200
    assert order.index("quiet") <= 2, "behind the one that ran, and one more at most"
    assert order.count("given up") == 0
    await readers.stop()


async def test_writes_of_a_tenant_that_writes_a_lot_take_turns_with_anothers(tmp_path: Path) -> None:
    file = File(tmp_path / "file")
    writer, gate, order = Writer(file), threading.Event(), list[str]()

    def write(name: str) -> Callable[[sqlite3.Connection], None]:
        def work(_: sqlite3.Connection) -> None:
            assert gate.wait(120)
            order.append(name)

        return work

    writer.start(file.connect())
    loud = [asyncio.create_task(served("loud", lambda: writer.run(write("loud")))) for _ in range(1000)]
    await asyncio.sleep(0)
    quiet = asyncio.create_task(served("quiet", lambda: writer.run(write("quiet"))))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(quiet, *loud)
    assert order.index("quiet") <= _GROUP + 2, "in the transaction after the one that ran"
    assert order.count("loud") == 1000
    await writer.stop()


async def test_statements_of_a_tenant_that_sends_a_lot_take_turns_with_anothers() -> None:
    session, order, waiting = (
        Session(CassandraOptions(("none",), "none", in_flight=2)),
        list[str](),
        list[Callable[[Any], None]](),
    )

    class Driver:
        """Stands for the server: it answers when it is told to."""

        def execute_async(self, statement: str, parameters: Any, **_: Any) -> Driver:
            order.append(statement)
            return self

        def add_callbacks(self, arrived: Callable[[Any], None], failed: Any) -> None:
            waiting.append(arrived)

    session._session = Driver()

    async def statement(name: str) -> Any:
        return await (await session._send(Kind.READ, name, None))

    loud = [asyncio.create_task(served("loud", lambda: statement("loud"))) for _ in range(200)]
    await asyncio.sleep(0)
    quiet = asyncio.create_task(served("quiet", lambda: statement("quiet")))
    while not all(task.done() for task in (quiet, *loud)):
        for arrived in waiting[:]:
            waiting.remove(arrived)
            arrived([])
        await asyncio.sleep(0)
    assert order.index("quiet") in (2, 3)
    assert order.count("loud") == 200
