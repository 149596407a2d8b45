"""The one thread that writes. Writes that queue up while it is busy share the next transaction; what is more than one transaction
takes comes in turns, tenant by tenant and user by user."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from schemas import Unavailable
from schemas.common.turns import Rotation, served
from state.sqlite.connection import File

Result = TypeVar("Result")

_IDLE, _LONGEST = 0.5, 10.0
"""Seconds without a write after which the log is cut off, once something was erased; and the longest time until then."""
_READERS_MS = 50
_GROUP = 64
"""Writes of one transaction at most, so that the first of them does not wait long."""


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    erases: bool = False
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Hands the outcome to the caller, if it still waits. Runs on the caller's event loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Owns the writing connection.

    `work` handed to `run` runs inside a transaction in the writer's thread: it must not begin or end one, must not
    wait, and what it raises takes back what it wrote and nothing else. A caller that is cancelled stops waiting; its
    write happens all the same.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._waiting: Rotation[_Job] = Rotation()
        self._tokens: SimpleQueue[bool] = SimpleQueue()
        """One for each job that waits; False ends the thread."""
        self._thread: threading.Thread | None = None
        self._erased, self._truncated = False, time.monotonic()

    def start(self, connection: sqlite3.Connection) -> None:
        """Starts the thread, which closes the connection when it ends."""
        self._thread = threading.Thread(target=self._loop, args=(connection,), name="sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[sqlite3.Connection], Result], *, erases: bool = False) -> Result:
        """What `work` returns, once its transaction is committed. `erases`: what it deletes may not stay in the file's log."""
        if self._thread is None:
            raise Unavailable(f"the database {self._file.path} is not open")
        future = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.put(*served(), _Job(work, future, erases))
        self._tokens.put(True)
        result: Result = await future
        return result

    async def stop(self) -> None:
        """Finishes what is queued and ends the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._tokens.put(False)
            await asyncio.to_thread(thread.join)

    def _loop(self, connection: sqlite3.Connection) -> None:
        try:
            while group := self._next_group(connection):
                self._commit(connection, group)
                _settle(group)
                self._erased = self._erased or any(job.erases for job in group)
                if self._erased and time.monotonic() - self._truncated > _LONGEST:
                    self._truncate(connection)
        finally:
            connection.close()

    def _truncate(self, connection: sqlite3.Connection) -> None:
        """Cuts the log of the file off. What was deleted is in it until then, and in the file where it was."""
        self._truncated = time.monotonic()
        with suppress(sqlite3.Error):
            connection.execute(
                f"PRAGMA busy_timeout = {_READERS_MS}"
            )  # the next write does not wait for somebody who reads
            try:
                busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._erased = bool(busy)
            finally:
                connection.execute(f"PRAGMA busy_timeout = {round(self._file.busy_timeout * 1000)}")

    def _next_group(self, connection: sqlite3.Connection) -> list[_Job]:
        """The queued writes, at least one; none when the thread is to end."""
        group: list[_Job] = []
        there = self._is_next(connection)
        try:
            while there:
                with self._lock:
                    group.append(self._waiting.take())
                if len(group) == _GROUP:
                    return group
                there = self._tokens.get_nowait()
        except Empty:
            return group
        if group:
            self._tokens.put(False)
        return group

    def _is_next(self, connection: sqlite3.Connection) -> bool:
        """Waits for the next write; False when the thread is to end.

        The log is cut off when there is none for a while, so that it costs nobody time.
        """
        while True:
            try:
                return self._tokens.get(timeout=_IDLE if self._erased else None)
            except Empty:
                self._truncate(connection)

    def _commit(self, connection: sqlite3.Connection, group: list[_Job]) -> None:
        sent = False
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in group:
                self._work(connection, job)
            sent = True
            connection.execute("COMMIT")
        except BaseException as error:  # whatever it is: the thread serves everybody
            if connection.in_transaction:
                sent = False
                with suppress(sqlite3.Error):  # what cannot be taken back now is taken back when the file is opened
                    connection.execute("ROLLBACK")
            for job in group:
                job.error = self._file.explain(error, sent=sent) if isinstance(error, sqlite3.Error) else error

    def _work(self, connection: sqlite3.Connection, job: _Job) -> None:
        connection.execute("SAVEPOINT job")
        try:
            job.result = job.work(connection)
        except BaseException as error:
            # A full disk and its like end the whole transaction, and with it what the jobs before this one wrote.
            if not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO job")
            job.error = self._file.explain(error) if isinstance(error, sqlite3.Error) else error
        connection.execute("RELEASE job")


def _settle(group: Iterable[_Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in group:
        by_loop.setdefault(job.future.get_loop(), []).append(job)
    for loop, jobs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_tell_all, jobs)
        except RuntimeError:
            continue  # the loop was closed: nobody waits there any longer


def _tell_all(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()
