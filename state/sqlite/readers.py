"""A few threads that read, each with a connection of its own, so that readers never wait for the writer.

What waits for a thread is taken in turns, tenant by tenant and user by user.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from schemas import Unavailable
from schemas.common.turns import Rotation, served
from state.sqlite.connection import File

Result = TypeVar("Result")


class Readers:
    """Runs `work` on one snapshot of the database."""

    def __init__(self, file: File, *, threads: int = 4) -> None:
        self._file, self._threads = file, threads
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._waiting: Rotation[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]] = Rotation()

    def start(self) -> None:
        """Threads and connections are made when they are needed."""
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="sqlite-reader")

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """What `work` returns; everything that it reads is of the same moment."""
        if self._pool is None:
            raise Unavailable(f"the database {self._file.path} is not open")
        done: Future[Result] = Future()
        with self._lock:
            self._waiting.put(*served(), (work, done))
        self._pool.submit(self._next)
        return await asyncio.wrap_future(done)

    async def stop(self) -> None:
        """Finishes what is running and closes the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)
            while self._connections:
                self._connections.pop().close()

    def _next(self) -> None:
        """Does whatever comes next: there is one call of this for each that waits."""
        with self._lock:
            work, done = self._waiting.take()
        if not done.set_running_or_notify_cancel():
            return
        try:
            found = self._read(work)
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(found)

    def _read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._file.explain(error) from error

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._file.connect()
            connection.execute("PRAGMA query_only = 1")
            self._connections.append(connection)
            self._local.connection = connection
        return connection
