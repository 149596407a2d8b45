"""A row of every kind."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from state_samples import (
    NOON,
    accepted,
    at,
    audit_row,
    checkpoint,
    commit,
    entry,
    event,
    head,
    message,
    result,
    run,
    value,
)

from schemas import OpenInput, Tenant, User
from state import AssistantRow, Stores, Timer

SOON = timedelta(hours=1)


async def fill(stores: Stores, tenant: str, words: str) -> None:
    """Rows of a tenant and its user `u1`, with these words in their bodies."""
    await fill_user(stores, tenant, "u1", words)
    await stores.directory.put_tenant(Tenant(tenant_id=tenant, name=words, created_at=NOON), expected_version=0)
    await stores.assistants.put(tenant, AssistantRow("a1", 1, words.encode()), expected_version=0)
    await stores.attempts.begin("turns", "topic", 0, 1)


async def fill_user(stores: Stores, tenant: str, user: str, words: str, *, thread: str = "th") -> None:
    """Rows of a user, with these words in their bodies and this thread in their ids."""
    journal = stores.journal
    turn = commit(
        "i1",
        0,
        outputs=words.encode(),
        messages=[message(1, words)],
        events=[event(1, words)],
        rows=[checkpoint(1, words), value(2, words)],
        thread=head(user_id=user, title=words).model_copy(update={"metadata": {"of": words}}),
        runs=[run("r1", error=words)],
    )
    await journal.commit(tenant, thread, turn)
    await journal.accept(tenant, thread, accepted("r2", details={"of": words}))
    await journal.announce(tenant, thread, OpenInput(input_id="i2", run_id="r2", user_id=user, at=NOON, graph=words))
    call = f"{thread}-c1"
    await stores.ledger.claim(tenant, entry(call, state="sent", owner="w", name=words, user_id=user, thread_id=thread))
    await stores.ledger.finish(tenant, call, owner="w", result=result(call, content=words), at=at(1))
    await stores.directory.put_user(User(tenant_id=tenant, user_id=user, name=words, created_at=NOON))
    rows = [audit_row(n, event_id=f"{thread}-{n}", of=words) for n in (1, 2)]
    rows = [replace(row, event=row.event.model_copy(update={"user_id": user})) for row in rows]
    await stores.audit.append(tenant, rows[:1])
    await stores.audit.add_missing(tenant, rows[1])
    body = json.dumps({"user_id": user, "of": words}).encode()
    await stores.credentials.put(tenant, "key", f"{thread}-k1", body, expires=datetime.now(UTC) + SOON)
    await stores.items.put(tenant, user, ["a"], "k1", {"of": words})
    await stores.timers.put(Timer(tenant, user, f"{thread}-t1", "run", at(0), words.encode()))
    await stores.positions.put(tenant, user, "mail", words)
