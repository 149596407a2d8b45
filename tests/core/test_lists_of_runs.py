"""A list of runs has each run once, also one that ends meanwhile."""

from __future__ import annotations

from core.principal import SCOPES, Principal
from core.store_core import StoreCore
from schemas import ActiveRun, ThreadHead
from schemas.commits import Commit
from schemas.common.clock import utc_now
from schemas.thread_head import StoredRun
from state import Stores

ANA = Principal("acme", "ana", SCOPES, "key", "k1")


async def test_a_run_that_ends_while_it_is_listed_comes_once(core: StoreCore, stores: Stores) -> None:
    now = utc_now()
    ids = {"run_id": "r", "input_id": "i", "user_id": "ana", "agent_id": "default"}
    run = ActiveRun(**ids, at=now, started_at=now, resumed_at=now, first_message=1)
    head = ThreadHead(user_id="ana", created_at=now, updated_at=now, run=run, next_event=2)
    await stores.journal.commit("acme", "t", Commit(input_id="i", expected_version=0, head=head, outputs=b""))
    listed = core.runs.listed(ANA, "t")
    _, first = await anext(listed)
    assert (first.run_id, first.status) == ("r", "running")
    over = StoredRun(
        run_id="r", input_id="i", outcome="cancelled", accepted_at=now, ended_at=now, first_event=1, last_event=2
    )
    idle = head.model_copy(update={"run": None, "next_event": 3})
    await stores.journal.commit(
        "acme", "t", Commit(input_id="j", expected_version=1, head=idle, outputs=b"", runs=(over,))
    )
    assert [view.run_id async for _, view in listed] == []
    assert [(view.run_id, view.status) async for _, view in core.runs.listed(ANA, "t")] == [("r", "cancelled")]
