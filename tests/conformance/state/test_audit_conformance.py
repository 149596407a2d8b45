from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from state_samples import at, audit_row
from stored_cells import cells_of

from state import AuditRow, Page, Stores


async def export(stores: Stores, tenant: str, since: datetime | None = None) -> list[AuditRow]:
    return [row async for row in stores.audit.export(tenant, since=since)]


async def test_nothing_is_read_from_an_empty_trail(stores: Stores, tenant: str) -> None:
    assert await stores.audit.tail(tenant) == []
    assert await export(stores, tenant) == []


async def test_rows_come_in_the_order_of_their_positions(stores: Stores, tenant: str) -> None:
    rows = [audit_row(n, note="'\"\x00👍", n=n) for n in (2, 10, 9, 1, 300)]
    await stores.audit.append(tenant, rows[:3])
    await stores.audit.append(tenant, rows[3:])
    in_order = sorted(rows, key=lambda row: row.position)
    assert await export(stores, tenant) == in_order
    assert await stores.audit.tail(tenant) == in_order
    assert await stores.audit.tail(tenant, limit=2) == in_order[-2:]
    assert await stores.audit.tail(tenant, limit=0) == []


async def test_append_again_changes_nothing(stores: Stores, tenant: str) -> None:
    rows = [audit_row(n) for n in range(5)]
    for _ in range(3):
        await stores.audit.append(tenant, rows)
    await stores.audit.append(tenant, [])
    assert await export(stores, tenant) == rows


async def test_a_row_that_is_missing_is_added_and_one_that_stands_there_stays(stores: Stores, tenant: str) -> None:
    await stores.audit.append(tenant, [audit_row(1), audit_row(3)])
    await stores.audit.add_missing(tenant, audit_row(2))
    await stores.audit.add_missing(tenant, audit_row(1, note="another"))
    assert await export(stores, tenant) == [audit_row(n) for n in (1, 2, 3)]


async def test_events_that_share_a_position_are_both_kept(stores: Stores, tenant: str) -> None:
    rows = [audit_row(7, event_id="a"), audit_row(7, event_id="b")]
    await stores.audit.append(tenant, rows[1:])
    await stores.audit.append(tenant, rows[:1])
    assert await export(stores, tenant) == rows
    assert await stores.audit.tail(tenant) == rows


async def test_export_since_a_time_leaves_out_what_was_before(stores: Stores, tenant: str) -> None:
    rows = [audit_row(n) for n in range(10)]
    await stores.audit.append(tenant, rows)
    assert await export(stores, tenant, at(0)) == rows
    assert await export(stores, tenant, at(4)) == rows[4:]
    assert await export(stores, tenant, at(3.5)) == rows[4:]
    assert await export(stores, tenant, at(100)) == []


async def test_order_holds_across_months_and_with_clocks_that_disagree(stores: Stores, tenant: str) -> None:
    """Positions 3 and 4 lie in January by their own clock and come after one that lies in February."""
    month_end = (datetime(2026, 2, 1, tzinfo=UTC) - at(0)).total_seconds()
    seconds = [month_end - 2, month_end - 1, month_end + 1, month_end - 0.5, month_end - 0.25, month_end + 40 * 86_400]
    rows = [audit_row(n, seconds=s) for n, s in enumerate(seconds)]
    await stores.audit.append(tenant, rows)
    assert await export(stores, tenant) == rows
    for limit in range(1, 7):
        assert await stores.audit.tail(tenant, limit=limit) == rows[-limit:]
    assert await export(stores, tenant, datetime(2026, 2, 1, tzinfo=UTC)) == [rows[2], rows[5]]


async def test_export_of_more_rows_than_a_page(stores: Stores, tenant: str) -> None:
    rows = [audit_row(n) for n in range(1_234)]
    await stores.audit.append(tenant, rows)
    assert await export(stores, tenant) == rows
    assert await stores.audit.tail(tenant, limit=1_000) == rows[-1_000:]


def done(position: int, actor: str, user: str | None = None, **more: Any) -> AuditRow:
    """An event of `actor`, about the user if one is named."""
    row = audit_row(position, seconds=more.pop("seconds", None))
    return replace(row, event=row.event.model_copy(update={"actor": actor, "user_id": user, **more}))


async def pages(read: Any, **options: Any) -> list[list[AuditRow]]:
    """All pages, the newest first."""
    found: list[list[AuditRow]] = []
    before: Any = None
    while True:
        page: Page[AuditRow] = await read(before=before, **options)
        found.append(list(page))
        before = page.next
        if before is None:
            return found


def of_user(stores: Stores, tenant: str, user: str) -> Any:
    async def read(**options: Any) -> Page[AuditRow]:
        return await stores.audit.of_user(tenant, user, **options)

    return read


async def test_what_is_mine_is_found_behind_thousands_of_events_of_a_colleague(
    stores: Stores, tenant: str, other_tenant: str
) -> None:
    mine = [done(0, "user:ana"), done(1, "system", "ana")]
    await stores.audit.append(tenant, mine)
    await stores.audit.append(tenant, [done(n, "user:bob", "bob") for n in range(2, 2_502)])
    assert await stores.audit.of_user(tenant, "ana", limit=2) == mine
    assert [row.position for row in await stores.audit.of_user(tenant, "bob", limit=2)] == [2_500, 2_501]
    assert await stores.audit.of_user(other_tenant, "ana") == []
    assert await stores.audit.of_user(tenant, "ana", limit=0) == []


async def test_an_event_belongs_to_who_did_it_and_to_whom_it_is_about(stores: Stores, tenant: str) -> None:
    rows = [
        done(0, "user:boss", "ana"),
        done(1, "agent:ana"),
        done(2, "tool:x", "ana"),
        done(3, "user:ana", "ana"),
        done(4, "user:"),
    ]
    await stores.audit.append(tenant, rows[:3])
    for row in rows[3:]:
        await stores.audit.add_missing(tenant, row)
    assert await stores.audit.of_user(tenant, "ana") == [rows[0], rows[2], rows[3]]
    assert await stores.audit.of_user(tenant, "boss") == rows[:1]
    assert await stores.audit.of_user(tenant, "") == []
    assert await stores.audit.tail(tenant) == rows


async def test_the_pages_of_a_trail_have_each_row_once_over_months_and_with_clocks_that_disagree(
    stores: Stores, tenant: str
) -> None:
    month = 31 * 86_400
    rows = [done(n, "user:ana", seconds=(n // 40 + n % 2) * month + n) for n in range(120)]
    rows += [replace(rows[7], event_id="x"), replace(rows[7], event_id="a")]
    await stores.audit.append(tenant, rows)
    rows.sort(key=lambda row: row.place)

    async def tail(**options: Any) -> Page[AuditRow]:
        return await stores.audit.tail(tenant, **options)

    for read in (of_user(stores, tenant, "ana"), tail):
        for limit in (1, 7, 61, 122, 500):
            found = await pages(read, limit=limit)
            assert [row for page in reversed(found) for row in page] == rows
            assert {len(page) for page in found[:-1]} <= {limit}
        assert [len(page) for page in await pages(read, limit=61)] == [61, 61]


async def test_a_page_of_a_trail_ends_at_its_bytes(stores: Stores, tenant: str) -> None:
    rows = [done(n, "user:ana", subject="x" * 1_000) for n in range(20)]
    await stores.audit.append(tenant, rows)
    found = await pages(of_user(stores, tenant, "ana"), limit=100, max_bytes=5_000)
    assert [row for page in reversed(found) for row in page] == rows
    assert {len(page) for page in found} <= {3, 4, 2, 1}
    assert [len(page) for page in await pages(of_user(stores, tenant, "ana"), limit=100, max_bytes=10)] == [1] * 20


async def test_an_event_costs_one_line_for_its_user(stores: Stores, tenant: str) -> None:
    row = done(1, "user:ana", "ana")
    for _ in range(2):
        await stores.audit.append(tenant, [row, done(2, "system")])
        await stores.audit.add_missing(tenant, row)
    cells = await cells_of(stores)
    assert sum(cell == tenant for cell in cells["audit"]) == 2
    assert sum(cell == tenant for cell in cells["audit_by_user"]) == 1


async def test_the_rows_of_a_user_who_is_erased_stay_and_name_nobody(stores: Stores, tenant: str) -> None:
    rows = [
        done(0, "user:ana", "ana", details={"for": "user:ana", "of": ["ana", "anagram"]}),
        done(1, "user:boss", "ana", subject="ana", seconds=40 * 86_400),
        done(2, "user:bob", "bob", subject="report"),
        done(3, "user:ana", "bob", thread_id="t1", outcome="refused", reason="why"),
    ]
    await stores.audit.append(tenant, rows)
    await stores.audit.erase_user(tenant, "ana")

    found = await export(stores, tenant)
    alias = found[0].event.user_id or ""
    assert re.fullmatch("erased-[a-z0-9]{6,}", alias)
    assert found == [
        done(0, f"user:{alias}", alias, details={"for": f"user:{alias}", "of": [alias, "anagram"]}),
        done(1, "user:boss", alias, subject=alias, seconds=40 * 86_400),
        rows[2],
        done(3, f"user:{alias}", "bob", thread_id="t1", outcome="refused", reason="why"),
    ]
    assert await stores.audit.of_user(tenant, "ana") == []
    assert await stores.audit.of_user(tenant, "boss") == found[1:2]
    assert await stores.audit.of_user(tenant, "bob") == found[2:]
    assert await stores.audit.of_user(tenant, alias) == [found[0], found[1], found[3]]
    listed = (await cells_of(stores))["audit_by_user"]
    assert (tenant, "ana") not in pairwise(listed)

    await stores.audit.erase_user(tenant, "ana")
    assert await export(stores, tenant) == found
    await stores.audit.add_missing(tenant, rows[0])  # a dead letter of it is replayed
    assert await stores.audit.of_user(tenant, "ana") == []


async def test_an_alias_of_an_erasure_is_of_that_erasure_alone(stores: Stores, tenant: str, other_tenant: str) -> None:
    for where in (tenant, other_tenant):
        await stores.audit.append(where, [done(0, "user:ana")])
        await stores.audit.erase_user(where, "ana")
    await stores.audit.append(tenant, [done(1, "user:ana")])
    assert await stores.audit.of_user(tenant, "ana") == [done(1, "user:ana")]  # what comes later, until the next time
    await stores.audit.erase_user(tenant, "ana")
    actors = {row.event.actor for where in (tenant, other_tenant) for row in await export(stores, where)}
    assert len(actors) == 3
    assert all(actor.startswith("user:erased-") for actor in actors)


async def test_the_lists_of_users_go_with_their_tenant(stores: Stores, tenant: str, other_tenant: str) -> None:
    for where in (tenant, other_tenant):
        await stores.audit.append(where, [done(0, "user:ana"), done(1, "user:bob", seconds=40 * 86_400)])
    await stores.audit.erase(tenant)
    cells = await cells_of(stores)
    assert not any(tenant in cells[table] for table in ("audit", "audit_by_user"))
    assert await stores.audit.of_user(other_tenant, "bob") == [done(1, "user:bob", seconds=40 * 86_400)]
