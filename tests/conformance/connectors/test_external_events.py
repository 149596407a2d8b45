"""What events become: one run each, for a user who may have it, in a thread of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from source_kit import Place, place

from core.external_events import NewEvent
from core.principal import Principal
from core.refusals import Forbidden, Invalid, Missing
from schemas import Commit, PartitionSet, ServerTrouble, ThreadHead
from state import Committed
from streams import topic_admin
from streams.embedded import EmbeddedBroker

ANA = Principal("acme", "ana")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    async with EmbeddedBroker(tmp_path / "kafka") as broker:
        await topic_admin.apply(broker.bootstrap, partitions={PartitionSet.CONVERSATION: 2, PartitionSet.TENANT: 1})
        async with place(broker.bootstrap, tmp_path / "state") as found:
            yield found


def event(event_id: str = "1", **fields: Any) -> NewEvent:
    about = {"kind": "test.happened", "summary": "It happened.", "occurred_at": datetime.now(UTC), **fields}
    return NewEvent(event_id=event_id, **about)


async def test_an_event_that_is_told_twice_is_one_run(here: Place) -> None:
    begun = [await here.events_of_source.begin(ANA, "test", event()) for _ in range(2)]
    assert begun[0] == begun[1]
    assert {record.envelope.id for record in await here.events()} == {begun[0].run_id}
    promised = await here.stores.journal.accepted("acme", begun[0].thread_id, run_id=begun[0].run_id)
    assert promised
    assert promised.details == {"source": "test"}


async def test_the_same_id_of_another_source_user_or_tenant_is_another_event(here: Place) -> None:
    events = here.events_of_source
    begun = [
        await events.begin(ANA, "test", event()),
        await events.begin(ANA, "other", event()),
        await events.begin(Principal("acme", "eva"), "test", event()),
    ]
    assert len({one.run_id for one in begun}) == len({one.thread_id for one in begun}) == 3


async def test_events_of_a_conversation_share_a_thread_and_others_have_their_own(here: Place) -> None:
    events = here.events_of_source
    threads = [
        (await events.begin(ANA, "test", event(str(n), conversation=conversation))).thread_id
        for n, conversation in enumerate(["a", "a", "b", None, None])
    ]
    assert threads[0] == threads[1]
    assert len(set(threads)) == 4


async def test_a_conversation_whose_thread_was_deleted_goes_on_in_another(here: Place) -> None:
    begun = await here.events_of_source.begin(ANA, "test", event("1", conversation="a"))
    now = datetime.now(UTC)
    deleted = ThreadHead(user_id="ana", created_at=now, updated_at=now, deleted=True)
    commit = Commit(input_id="deletion", expected_version=0, head=deleted, outputs=b"")
    assert isinstance(await here.stores.journal.commit("acme", begun.thread_id, commit), Committed)
    later = [await here.events_of_source.begin(ANA, "test", event(n, conversation="a")) for n in ("2", "2", "3")]
    assert later[0] == later[1]
    assert later[0].thread_id == later[2].thread_id != begun.thread_id


async def test_what_a_newer_version_wrote_makes_an_event_wait_and_passes_over_none(here: Place, tmp_path: Path) -> None:
    (database,) = (tmp_path / "state").glob("*.db")
    with sqlite3.connect(database) as rows:
        (body,) = rows.execute("SELECT body FROM tenants WHERE tenant_id = 'acme'").fetchone()
        rows.execute("UPDATE tenants SET body = ? WHERE tenant_id = 'acme'", (b'{"agents": 7}',))
    with pytest.raises(ServerTrouble):
        await here.events_of_source.begin(ANA, "test", event())
    with sqlite3.connect(database) as rows:
        rows.execute("UPDATE tenants SET body = ? WHERE tenant_id = 'acme'", (body,))
    assert (await here.events_of_source.begin(ANA, "test", event())).run_id


@pytest.mark.parametrize(
    ("principal", "given", "refusal"),
    [
        (Principal("lumen", "ana"), {}, Forbidden),
        (Principal("nobody", "ana"), {}, Forbidden),
        (Principal("acme", "ana", scopes=("read",)), {}, Forbidden),
        (ANA, {"agent_id": "nobody"}, Missing),
        (ANA, {"kind": ""}, Invalid),
        (ANA, {"data": {"of": "x" * 10_000_000}}, Invalid),
    ],
    ids=["paused", "no tenant", "may not write", "no agent", "does not fit", "too large"],
)
async def test_what_can_be_no_run_is_refused_and_promises_nothing(
    here: Place, principal: Principal, given: dict[str, Any], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await here.events_of_source.begin(principal, "test", event(**given))
    assert await here.events() == []
