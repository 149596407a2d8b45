"""What stands in the tables of either backend, and a codec whose bytes can be told from others."""

from __future__ import annotations

from typing import Any

from state import Codec, Stores, open_stores
from state.cassandra.queries import Kind, Query

MARK = b"\xff\x00encoded for "
"""No UTF-8, so that no column of text takes it."""
OTHERS = {"migrations", "migration_lock"}
"""Tables of no store."""


class Marked(Codec):
    """Nothing of a body can be seen in what is stored, and what is stored differs from time to time."""

    def __init__(self) -> None:
        self._count = 0

    def encode(self, tenant_id: str, body: bytes) -> bytes:
        self._count += 1
        hidden = bytes(byte ^ 0xA5 for byte in super().encode(tenant_id, body))
        return MARK + tenant_id.encode() + b"\x00%d\x00" % self._count + hidden

    def decode(self, tenant_id: str, stored: bytes | str) -> bytes:
        body = super().decode(tenant_id, stored)
        if not body.startswith(MARK):
            return body  # of before there was this codec
        tenant, _, hidden = body[len(MARK) :].split(b"\x00", 2)
        assert tenant == tenant_id.encode()
        return bytes(byte ^ 0xA5 for byte in hidden)


def marked(url: str, **options: Any) -> Stores:
    """Stores whose bodies are marked."""
    return open_stores(url, codec=Marked(), **options)


async def cells_of(stores: Stores) -> dict[str, list[Any]]:
    """The values of all rows by their tables."""
    if hasattr(stores, "path"):
        return await _sqlite_cells(stores)
    return await _cassandra_cells(stores)


async def _sqlite_cells(stores: Any) -> dict[str, list[Any]]:
    names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    tables = [name for (name,) in await stores._readers.run(lambda c: c.execute(names).fetchall())]
    found = {}
    for table in set(tables) - OTHERS:
        rows = await stores._readers.run(lambda c, table=table: c.execute(f"SELECT * FROM {table}").fetchall())
        found[table] = [cell for row in rows for cell in row]
    return found


async def _cassandra_cells(stores: Any) -> dict[str, list[Any]]:
    session = stores._session
    names = Query(Kind.READ, "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?")
    tables = [name for (name,) in await session.execute(names, session.options.keyspace)]
    found = {}
    for table in set(tables) - OTHERS:
        pages = session.pages(Query(Kind.READ, f"SELECT * FROM KEYSPACE.{table}"))
        found[table] = [cell for page in [page async for page in pages] for row in page for cell in row]
    return found


def unmarked(cells: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Bodies without the mark: bytes, and text that is JSON."""

    def is_body(cell: Any) -> bool:
        if isinstance(cell, str):
            return cell.startswith(("{", "["))
        return isinstance(cell, bytes) and not cell.startswith(MARK)

    found = {table: [cell for cell in values if is_body(cell)] for table, values in cells.items()}
    return {table: bodies for table, bodies in found.items() if bodies}
