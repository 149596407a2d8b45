from __future__ import annotations

from datetime import UTC, datetime

from state_samples import at, audit_row

from state import AuditRow, Stores


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
