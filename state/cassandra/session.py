"""The bridge between the driver, which has threads of its own, and asyncio.

The driver calls back in its thread; `call_soon_threadsafe` carries the answer to the event loop. A caller that is
cancelled stops waiting; the statement continues, and counts as one of those in flight until it is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import cassandra
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ResultSet
from cassandra.query import BatchStatement, BatchType, SimpleStatement

from schemas import ServerTrouble, Unavailable
from schemas.common.recent import Backoff
from schemas.common.turns import Turns, served
from state.cassandra.connecting import CONDITIONAL_PROFILE, Attempt, CassandraOptions
from state.cassandra.driver_errors import explain
from state.cassandra.queries import Kind, Query
from state.pages import PAGE_BYTES, size_of

log = logging.getLogger(__name__)

_LONGEST_WAIT = 2.0  # seconds between two attempts to connect
_FIRST_ROWS, _MORE_ROWS = (
    16,
    8,
)  # rows of the first page of a read, and by how much a page may be larger than the one before
_LIMITED_ROWS = 16  # rows of a page of a read that has a LIMIT
_SCHEMA_TIMEOUT = 60.0  # seconds for a change of the schema, which waits until all nodes agree

Rows = list[Any]


class Session:
    """Runs statements. Rows come as tuples, those of conditional statements as dictionaries."""

    def __init__(self, options: CassandraOptions) -> None:
        self.options = options
        self._cluster: Any = None
        self._session: Any = None
        self._places = Turns(options.in_flight)
        self._prepared: dict[Query, Any] = {}
        self._preparing = asyncio.Lock()

    async def open(self) -> None:
        """Connects, waiting for the server with backoff. Raises `SettingsError` when it refuses our credentials."""
        wait, failures = Backoff(0.1, _LONGEST_WAIT), 0
        while self._session is None:
            attempt = Attempt(self.options)
            try:
                self._cluster, self._session = await asyncio.to_thread(attempt.run)
            except asyncio.CancelledError:
                attempt.abandon()
                raise
            except Exception as error:
                explained = explain(error, Kind.READ)
                if not isinstance(explained, ServerTrouble):
                    raise explained from error
                if failures % 20 == 0:
                    log.warning("waiting for Cassandra at %s: %s", ", ".join(self.options.hosts), error)
                failures += 1
                await asyncio.sleep(wait.next())

    async def close(self) -> None:
        """Waits for the statements in flight, then disconnects."""
        cluster, self._cluster, self._session = self._cluster, None, None
        if cluster is None:
            return
        for _ in range(self.options.in_flight):
            await self._places.take(*served())
        await asyncio.to_thread(cluster.shutdown)
        self._places = Turns(self.options.in_flight)
        self._prepared.clear()

    async def execute(self, query: Query, *parameters: Any) -> Rows:
        """The rows of the first page; statements with more rows than a page use `pages`."""
        return await (await self.start(query, *parameters))

    async def start(self, query: Query, *parameters: Any) -> asyncio.Future[Rows]:
        """Sends a statement; the future is its rows, so that several can be in flight concurrently."""
        statement = self._prepared.get(query) or await self.prepare(query)
        profile = CONDITIONAL_PROFILE if query.kind is Kind.CONDITIONAL else EXEC_PROFILE_DEFAULT
        return await self._send(query.kind, statement, parameters, execution_profile=profile)

    async def execute_batch(self, kind: Kind, statements: Sequence[tuple[Query, Sequence[Any]]]) -> Rows:
        """Runs statements on one partition as one mutation."""
        batch = BatchStatement(BatchType.UNLOGGED)
        for query, parameters in statements:
            batch.add(self._prepared.get(query) or await self.prepare(query), parameters)
        batch.is_idempotent = kind.idempotent
        profile = CONDITIONAL_PROFILE if kind is Kind.CONDITIONAL else EXEC_PROFILE_DEFAULT
        return await (await self._send(kind, batch, None, execution_profile=profile))

    async def pages(self, query: Query, *parameters: Any, size: int = 500) -> AsyncIterator[Rows]:
        """The rows of a read, page by page; some pages may be empty.

        A page has at most `size` rows, and about `PAGE_BYTES`: Cassandra counts rows only, so that the first page is a small one,
        and each says how many rows the next may have.
        """
        bound = (self._prepared.get(query) or await self.prepare(query)).bind(parameters)
        # A read with a LIMIT repeats rows when its pages change their size.
        adapts = " LIMIT " not in query.cql
        bound.fetch_size = min(size, _FIRST_ROWS if adapts else _LIMITED_ROWS)
        state: Any = None
        while True:
            page: Any = await (await self._send(query.kind, bound, None, paging_state=state, whole_result=True))
            rows: Rows = page.current_rows
            state = page.paging_state
            if rows and adapts:
                fitting = PAGE_BYTES // max(size_of(row) for row in rows)
                bound.fetch_size = max(1, min(size, fitting, bound.fetch_size * _MORE_ROWS))
            yield rows
            if not state:
                return

    async def change_schema(self, cql: str, *, in_keyspace: bool = True) -> None:
        """Runs a statement that is not prepared: a change of the schema."""
        keyspace = self.options.keyspace if in_keyspace else None
        statement = SimpleStatement(cql, keyspace=keyspace, is_idempotent=False)
        await (await self._send(Kind.WRITE, statement, None, timeout=_SCHEMA_TIMEOUT))

    async def ping(self, timeout: float) -> None:
        """Raises `Unavailable` unless a server answers within `timeout` seconds."""
        statement = SimpleStatement(
            "SELECT key FROM system.local", is_idempotent=True, consistency_level=cassandra.ConsistencyLevel.ONE
        )
        await (await self._send(Kind.READ, statement, None, timeout=timeout))

    async def prepare(self, query: Query) -> Any:
        """The prepared statement; the driver blocks while it prepares, so a thread does that."""
        async with self._preparing:
            prepared: Any = self._prepared.get(query)
            if prepared is None:
                session = self._connected()
                try:
                    prepared = await asyncio.to_thread(session.prepare, query.in_keyspace(self.options.keyspace))
                except Exception as error:
                    # Nothing but its text was sent: whatever the statement is, it did not run.
                    raise explain(error, Kind.READ) from error
                prepared.is_idempotent = query.kind.idempotent
                if query.kind is Kind.SERIAL_READ:
                    prepared.consistency_level = cassandra.ConsistencyLevel.LOCAL_SERIAL
                self._prepared[query] = prepared
        return prepared

    def _connected(self) -> Any:
        if self._session is None:
            raise Unavailable("the connection to Cassandra is not open")
        return self._session

    async def _send(
        self, kind: Kind, statement: Any, parameters: Any, *, whole_result: bool = False, **options: Any
    ) -> asyncio.Future[Rows]:
        await self._places.take(*served())
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Rows] = loop.create_future()
        try:
            request = self._connected().execute_async(statement, parameters, **options)
        except Exception as error:
            self._places.give()
            raise explain(error, kind) from error

        def settle(rows: Any, error: Exception | None) -> None:
            self._places.give()
            if answer.done():
                return
            if error is None:
                answer.set_result(rows)
            else:
                answer.set_exception(explain(error, kind))

        def carry(rows: Any, error: Exception | None) -> None:
            try:
                loop.call_soon_threadsafe(settle, rows, error)
            except RuntimeError:
                return  # the loop was closed: nobody waits there any longer

        def arrived(rows: Any) -> None:
            carry(ResultSet(request, rows) if whole_result else rows, None)

        request.add_callbacks(arrived, lambda error: carry(None, error))
        return answer
