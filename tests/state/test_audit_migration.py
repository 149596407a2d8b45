from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from schemas import AuditEvent
from state import AuditRow
from state.sqlite import SqliteStores

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


async def test_audit_events_of_before_there_were_lists_of_users_are_found_by_their_users(
    tmp_path: Path,
) -> None:
    stores = SqliteStores(tmp_path / "state")
    rows: list[AuditRow] = []
    await stores.open()
    await stores.migrate()
    for n, (actor, user) in enumerate([("user:boss", "ana"), ("user:ana", None), ("agent:a", "bob"), ("system", None)]):
        event = AuditEvent(at=NOON, action="a.b", actor=actor, user_id=user, reason="\x00 \U0001f44d")
        rows.append(AuditRow(f"e{n}", n, event))
    await stores.audit.append("acme", rows)
    with sqlite3.connect(stores.path) as connection:
        connection.execute("INSERT INTO audit VALUES ('acme', 9, 'e9', 0, X'FF00')")  # of another codec
        connection.execute("DROP TABLE audit_by_user")
        connection.execute("DELETE FROM migrations WHERE name = '0009_audit_by_user'")
    connection.close()
    assert await stores.migrate() == ["0009_audit_by_user"]
    assert await stores.audit.of_user("acme", "ana") == rows[:2]
    assert await stores.audit.of_user("acme", "boss") == rows[:1]
    assert await stores.audit.of_user("acme", "bob") == rows[2:3]
    with sqlite3.connect(stores.path) as connection:
        assert connection.execute("SELECT count(*) FROM audit_by_user").fetchone() == (4,)
    connection.close()
    await stores.close()
