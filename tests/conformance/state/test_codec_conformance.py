"""Every body goes through the codec, in both twins."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from every_row import fill
from listed_threads import threads_of
from state_samples import NOON, at, commit, entry, head, until_none
from stored_cells import cells_of, marked, unmarked

from schemas import UnreadableRow
from state import Committed, Stores, open_stores
from state.cassandra.queries import Kind, Query
from state.micros import to_micros


async def read(stores: Stores, tenant: str) -> list[Any]:
    journal = stores.journal
    return [
        await journal.hydrate(tenant, "th", window=10, input_id="i1"),
        await journal.outputs_of(tenant, "th", "i1"),
        await journal.messages(tenant, "th"),
        await journal.events(tenant, "th"),
        await threads_of(journal, tenant, "u1"),
        await journal.runs(tenant, "th"),
        await journal.accepted(tenant, "th", run_id="r2"),
        await journal.open_inputs(tenant, "th"),
        await journal.checkpoints(tenant, "th"),
        await journal.values(tenant, "th", [(1, 9)]),
        await journal.commit(tenant, "th", commit("i1", 0)),
        await stores.ledger.get(tenant, "th-c1"),
        await stores.ledger.claim(tenant, entry("th-c1")),
        await stores.directory.tenant(tenant),
        [one for one in await stores.directory.tenants() if one.tenant_id == tenant],
        await stores.directory.user(tenant, "u1"),
        await stores.directory.users(tenant),
        await stores.audit.tail(tenant),
        await stores.audit.of_user(tenant, "u1"),
        [row async for row in stores.audit.export(tenant)],
        await stores.credentials.get(tenant, "key", "th-k1"),
        await stores.credentials.list(tenant, "key"),
        await stores.items.get(tenant, "u1", ["a"], "k1"),
        [item async for item in stores.items.below(tenant, "u1", [])],
        await stores.assistants.get(tenant, "a1"),
        await stores.assistants.versions(tenant, "a1"),
        await stores.assistants.list(tenant),
        [timer for timer in await stores.timers.due(at(0), limit=10_000) if timer.tenant_id == tenant],
    ]


async def test_no_word_of_a_body_is_in_a_row_and_all_of_it_is_read_back(stores: Stores, tenant: str) -> None:
    words = f"words-{secrets.token_hex(8)}"
    await fill(stores, tenant, words)

    cells = await cells_of(stores)
    assert [table for table, values in cells.items() if not values] == [], (
        "every_row.py has to write a row of each table"
    )
    assert unmarked(cells) == {}
    shown = {table for table, values in cells.items() for cell in values if words in shown_as(cell)}
    assert shown == set()
    assert all(words in repr(found) for found in await read(stores, tenant) if found is not None)


def shown_as(cell: Any) -> str:
    return cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)


async def test_rows_of_before_there_was_a_codec_are_read(new_url: Callable[[], str], tenant: str) -> None:
    """Bodies were JSON in columns of text, or of bytes in Cassandra, and titles and metadata had columns of their own."""
    url = await asyncio.to_thread(new_url)
    plain, coded = open_stores(url), marked(url)
    for stores in (plain, coded):
        await stores.open()
    try:
        await fill(plain, tenant, "words")
        before = await read(plain, tenant)
        await as_they_were(plain, tenant)
        assert await read(plain, tenant) == before
        await as_they_were(plain, tenant)
        assert await read(coded, tenant) == before

        # While versions are mixed, the older one writes over what the newer one wrote.
        await coded.items.put(tenant, "u1", ["a"], "k1", {"of": "newer"})
        again = head(title="newer", updated=1)
        assert await coded.journal.commit(tenant, "th", commit("i3", 1, thread=again)) == Committed(2)
        assert [line.title for line in await threads_of(coded.journal, tenant, "u1")] == ["newer"]
        await as_an_older_version_writes(plain, tenant)
        assert (await coded.items.get(tenant, "u1", ["a"], "k1")).value == {"of": "words"}  # type: ignore[union-attr]
        (line,) = await threads_of(coded.journal, tenant, "u1")
        assert (line.title, line.metadata) == ("words", {"of": "words"})

        await coded.items.put(tenant, "u1", ["a"], "k1", {"of": "others"})
        assert (await coded.items.get(tenant, "u1", ["a"], "k1")).value == {"of": "others"}  # type: ignore[union-attr]
    finally:
        for stores in (plain, coded):
            await stores.close()


async def test_an_item_that_an_older_version_wrote_over_is_gone_when_it_expires(stores: Stores, tenant: str) -> None:
    await stores.items.put(tenant, "u1", ["a"], "k1", {"of": "newer"})
    if hasattr(stores, "path"):
        await change(stores, "UPDATE items SET body = ?, expires_at = 0 WHERE tenant_id = ?", b"", tenant)
    else:
        columns = "tenant_id, user_id, namespace, item_key, body, created_at, updated_at"
        values = f"VALUES (?, 'u1', 'a', 'k1', ?, {to_micros(NOON)}, {to_micros(NOON)}) USING TTL 1"
        await change(stores, f"INSERT INTO KEYSPACE.items ({columns}) {values}", tenant, " ")
    await until_none(lambda: expired(stores, tenant))
    assert [item async for item in stores.items.below(tenant, "u1", [])] == []
    await stores.items.put(tenant, "u1", ["a"], "k1", {"of": "others"})
    assert [item.value async for item in stores.items.below(tenant, "u1", [])] == [{"of": "others"}]


async def expired(stores: Stores, tenant: str) -> bool | None:
    """None once nothing is there any more."""
    try:
        return None if await stores.items.get(tenant, "u1", ["a"], "k1") is None else True
    except UnreadableRow:
        return True


BODIES = {
    "threads": "head",
    "messages": "body",
    "events": "body",
    "runs": "body",
    "accepted_runs": "body",
    "open_inputs": "body",
    "tool_calls": "identity",
    "tenants": "body",
    "users": "body",
    "audit": "body",
    "items": "body",
}
WORDS = '{"of": "words"}'
OF_ITEM = "tenant_id = ? AND user_id = 'u1' AND namespace = 'a' AND item_key = 'k1'"
OF_LINE = "tenant_id = ? AND user_id = 'u1' AND thread_id = 'th'"


async def as_they_were(stores: Any, tenant: str) -> None:
    """Takes the newer columns away and gives the others what an older version had there."""
    if hasattr(stores, "path"):
        for table, column in BODIES.items():
            await change(stores, f"UPDATE {table} SET {column} = CAST({column} AS TEXT) WHERE tenant_id = ?", tenant)
        await change(stores, "UPDATE tool_calls SET result = CAST(result AS TEXT) WHERE tenant_id = ?", tenant)
        await change(stores, "UPDATE threads SET line = NULL WHERE tenant_id = ?", tenant)
    else:
        await change(stores, f"UPDATE KEYSPACE.items SET content = null WHERE {OF_ITEM}", tenant)
        await change(stores, f"UPDATE KEYSPACE.threads_by_user SET line = null WHERE {OF_LINE}", tenant)
    await as_an_older_version_writes(stores, tenant)


async def as_an_older_version_writes(stores: Any, tenant: str) -> None:
    if hasattr(stores, "path"):
        await change(stores, "UPDATE items SET body = ? WHERE tenant_id = ?", WORDS, tenant)
        await change(stores, "UPDATE threads SET title = 'words', metadata = ? WHERE tenant_id = ?", WORDS, tenant)
    else:
        await change(stores, f"UPDATE KEYSPACE.items SET body = ? WHERE {OF_ITEM}", WORDS, tenant)
        line = f"UPDATE KEYSPACE.threads_by_user SET title = 'words', metadata = ? WHERE {OF_LINE}"
        await change(stores, line, WORDS, tenant)


async def change(stores: Any, statement: str, *values: str) -> None:
    if hasattr(stores, "path"):
        await stores._writer.run(lambda c: c.execute(statement, values))
    else:
        await stores._session.execute(Query(Kind.WRITE, statement), *values)
