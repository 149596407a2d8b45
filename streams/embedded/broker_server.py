"""The broker: connections, dispatch, and the slow clock that retains and syncs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from schemas.common.serving import ItemFailures, ServingTask
from streams.embedded.admin import Admin
from streams.embedded.consumer_groups import Groups
from streams.embedded.fetch_requests import Records
from streams.embedded.sign_in import MAX_SIGN_IN_FRAME, SIGN_IN_SECONDS, NotSignedIn, Password, SignIn
from streams.embedded.storage import Storage
from streams.embedded.transactions import Transactions
from streams.embedded.wire import (
    API_VERSIONS,
    MAX_FRAME,
    Request,
    UnsupportedVersion,
    decode_request,
    encode_response,
    unsupported_api_versions,
)

log = logging.getLogger("cauce.embedded")

MAX_CONNECTIONS = 2000
SYNC_SECONDS = 1.0
"""With fsync "interval": the most that a loss of power takes away. The death of the process alone takes nothing."""
RETENTION_SECONDS = 60.0
_DRAIN_AT = 1 << 20

Fsync = Literal["interval", "always"]
Fields = dict[str, Any]


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


class Broker:
    """One broker on one data folder. Raises `FolderInUse` when another one has it."""

    def __init__(
        self,
        folder: Path,
        *,
        password: str | None = None,
        fsync: Fsync = "interval",
        clock: Callable[[], int] = wall_clock_ms,
    ) -> None:
        """With a `password`, only those who know it are served (`sign_in.py`)."""
        self.storage = Storage(folder, clock)
        self._fsync = fsync
        self._password = Password(password) if password else None
        self._groups = Groups()
        self._transactions: Transactions | None = None
        self._admin = Admin(self.storage, self._groups)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._housekeeping = ServingTask("the housekeeping of the embedded broker", self._keep_house)
        self._failures = ItemFailures("the housekeeping of the embedded broker")
        self._handlers: dict[str, Callable[[Request], Fields | Awaitable[Fields | None] | None]] = {}

    async def start(self, port: int = 0) -> int:
        """Listens on 127.0.0.1 and returns the port. Raises `OSError` when it is taken."""
        self._transactions = Transactions(self.storage)
        self._handlers = self._table(self._transactions)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, backlog=512)
        self._admin.port = int(self._server.sockets[0].getsockname()[1])
        self._housekeeping.start()
        return self._admin.port

    async def stop(self) -> None:
        """Closes all connections and leaves the folder clean."""
        if self._server:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await self._housekeeping.stop()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self.storage.close()

    def _table(self, transactions: Transactions) -> dict[str, Callable[[Request], Any]]:
        records, admin, groups = Records(self.storage, transactions), self._admin, self._groups
        return {
            "ApiVersion": lambda r: admin.api_versions(),
            "Metadata": lambda r: admin.metadata(r.body, r.api.version),
            "Produce": lambda r: records.produce(r.body),
            "Fetch": lambda r: records.fetch(r.body, r.api.version),
            "Offset": lambda r: records.list_offsets(r.body),
            "FindCoordinator": lambda r: admin.coordinator(),
            "JoinGroup": groups.join,
            "SyncGroup": groups.sync,
            "Heartbeat": groups.heartbeat,
            "LeaveGroup": groups.leave,
            "OffsetCommit": lambda r: admin.commit_offsets(r.body),
            "OffsetFetch": lambda r: admin.fetch_offsets(r.body),
            "CreateTopics": lambda r: admin.create_topics(r.body, r.api.version),
            "DeleteTopics": lambda r: admin.delete_topics(r.body),
            "CreatePartitions": lambda r: admin.create_partitions(r.body),
            "DescribeConfigs": lambda r: admin.describe_configs(r.body, r.api.version),
            "AlterConfigs": lambda r: admin.alter_configs(r.body),
            "DeleteRecords": lambda r: admin.delete_records(r.body),
            "ListGroups": lambda r: admin.list_groups(),
            "DescribeGroups": lambda r: admin.describe_groups(r.body),
            "DeleteGroups": lambda r: admin.delete_groups(r.body),
            "InitProducerId": lambda r: _producer(transactions, r.body),
            "AddPartitionsToTxn": lambda r: transactions.add_partitions(r.body),
            "AddOffsetsToTxn": lambda r: transactions.add_offsets(r.body),
            "TxnOffsetCommit": lambda r: transactions.commit_offsets(r.body),
            "EndTxn": lambda r: transactions.end(r.body),
        }

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        if len(self._connections) >= MAX_CONNECTIONS:
            log.warning("refused a connection: %d are open", len(self._connections))
            writer.close()
            return
        self._connections.add(task)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._serve(reader, writer, SignIn(self._password))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or we stop
        except OSError as error:
            log.error("the disk does not take what must be remembered, a connection is closed: %s", error)
        except NotSignedIn as error:
            log.warning("closed a connection that has not signed in: %s", error)
        except Exception as error:
            log.warning("closed a connection that sent what is not Kafka's protocol: %r", error)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sign_in: SignIn) -> None:
        if not sign_in.done:
            try:
                async with asyncio.timeout(SIGN_IN_SECONDS):
                    await self._serve_until(lambda: sign_in.done, reader, writer, sign_in)
            except TimeoutError as error:
                raise NotSignedIn("it took too long") from error
        await self._serve_until(lambda: False, reader, writer, sign_in)

    async def _serve_until(
        self,
        over: Callable[[], bool],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sign_in: SignIn,
    ) -> None:
        while not over():
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            if not 8 <= length <= (MAX_FRAME if sign_in.done else MAX_SIGN_IN_FRAME):
                raise ValueError(f"a frame of {length} bytes")
            try:
                request = decode_request(await reader.readexactly(length))
            except UnsupportedVersion as unsupported:
                if unsupported.api_key != API_VERSIONS:
                    raise
                writer.write(unsupported_api_versions(unsupported.correlation_id))
                continue
            sign_in.check(request)
            if request.api.name == "SaslHandShake":
                answer: Any = sign_in.handshake(request.body)
            elif request.api.name == "SaslAuthenticate":
                answer = sign_in.authenticate(request.body)
            else:
                answer = self._handlers[request.api.name](request)
            fields = await answer if isinstance(answer, Awaitable) else answer
            if fields is None:
                continue
            if self._fsync == "always" and request.api.name in ("Produce", "OffsetCommit", "EndTxn", "CreateTopics"):
                self.storage.sync()
            writer.write(encode_response(request, fields))
            if writer.transport.get_write_buffer_size() > _DRAIN_AT:
                await writer.drain()

    async def _keep_house(self) -> None:
        """Retention now and then, and a sync each second, off the event loop."""
        next_retention = time.monotonic()
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self.storage.sync)
            if time.monotonic() >= next_retention:
                next_retention = time.monotonic() + RETENTION_SECONDS
                try:
                    self.storage.retain()
                except Exception as error:
                    self._failures.note("deleting old segments", error)


def _producer(transactions: Transactions, request: Any) -> Fields:
    error, producer_id, epoch = transactions.init_producer(request.transactional_id, request.transaction_timeout_ms)
    return {"throttle_time_ms": 0, "error_code": error, "producer_id": producer_id, "producer_epoch": epoch}
