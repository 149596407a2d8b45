"""Numbered migrations: `.cql` files of the folder `migrations`, each applied once.

Cassandra has no transactions over schema changes, so a row that one client at a time can insert is the lock. It
expires: a client that dies holding it holds the others up for that long. Statements say IF NOT EXISTS, so that a
migration that stopped half way can be applied again.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from schemas import OutcomeUnknown, ServerTrouble
from schemas.ids import random_digits
from state.cassandra.driver_errors import SchemaMissing
from state.cassandra.outcome import decided
from state.cassandra.queries import Kind, Query
from state.cassandra.session import Session

_FOLDER = Path(__file__).with_name("migrations")
_HELD = 90  # seconds that the lock is held without renewal; longer than any statement may take
_POLL = 0.2

_APPLIED = Query(Kind.READ, "SELECT name FROM KEYSPACE.migrations")
_MARK = Query(Kind.WRITE, "INSERT INTO KEYSPACE.migrations (name, applied_at) VALUES (?, toTimestamp(now()))")
_HOLDER = Query(Kind.SERIAL_READ, "SELECT owner FROM KEYSPACE.migration_lock WHERE name = 'migrations'")
_LOCK = Query(
    Kind.CONDITIONAL,
    f"INSERT INTO KEYSPACE.migration_lock (name, owner) VALUES ('migrations', ?) IF NOT EXISTS USING TTL {_HELD}",
)
_RENEW = Query(
    Kind.CONDITIONAL,
    f"UPDATE KEYSPACE.migration_lock USING TTL {_HELD} SET owner = ? WHERE name = 'migrations' IF owner = ?",
)
_UNLOCK = Query(Kind.CONDITIONAL, "DELETE FROM KEYSPACE.migration_lock WHERE name = 'migrations' IF owner = ?")


async def pending(session: Session) -> list[str]:
    """Names of the migrations that were not applied, in order."""
    try:
        applied = {name for (name,) in await session.execute(_APPLIED)}
    except SchemaMissing:
        applied = set()
    return [file.stem for file in sorted(_FOLDER.glob("*.cql")) if file.stem not in applied]


async def apply_pending(session: Session) -> list[str]:
    """Makes the keyspace if it is missing, applies what is pending and returns the names."""
    if not await pending(session):
        return []
    await _make_lock_table(session)
    async with _lock(session) as owner:
        await session.change_schema(
            "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamp)"
        )
        names = await pending(session)
        for name in names:
            for statement in _statements((_FOLDER / f"{name}.cql").read_text()):
                await _renew(session, owner)
                await session.change_schema(statement)
            await session.execute(_MARK, name)
    return names


async def _make_lock_table(session: Session) -> None:
    keyspace = session.options.keyspace
    await session.change_schema(
        f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {session.options.replication}",
        in_keyspace=False,
    )
    # Clients that make one table on two nodes at the same moment get two ids for it, and a schema that never agrees;
    # with an id that follows from the name both make the same table.
    table_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{keyspace}.migration_lock")
    await session.change_schema(
        f"CREATE TABLE IF NOT EXISTS migration_lock (name text PRIMARY KEY, owner text) WITH id = {table_id}"
    )


@asynccontextmanager
async def _lock(session: Session) -> AsyncIterator[str]:
    owner = random_digits(16)

    async def look() -> bool | None:
        holders = await session.execute(_HOLDER)
        return (holders[0][0] == owner) if holders else None

    async def write() -> bool:
        (row,) = await session.execute(_LOCK, owner)
        return bool(row["[applied]"])

    while True:
        if await decided(write, look):
            break
        await asyncio.sleep(_POLL)
    try:
        yield owner
    finally:
        with suppress(ServerTrouble):  # it expires by itself
            await session.execute(_UNLOCK, owner)


async def _renew(session: Session, owner: str) -> None:
    (row,) = await session.execute(_RENEW, owner, owner)
    if not row["[applied]"]:
        raise OutcomeUnknown(
            "this process lost the lock on migrations, and another one may be applying them. "
            "Wait for it, then run again: cauce state migrate"
        )


def _statements(script: str) -> list[str]:
    without_comments = re.sub(r"--[^\n]*", "", script)
    return [statement.strip() for statement in without_comments.split(";") if statement.strip()]
