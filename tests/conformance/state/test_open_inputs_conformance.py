from __future__ import annotations

from typing import Any

from listed_threads import threads_of
from state_samples import accepted, at, commit, head

from schemas import OpenInput
from state import Committed, Hydrated, Stale, Stores


def opened(input_id: str, seconds: float = 0, **fields: Any) -> OpenInput:
    return OpenInput(input_id=input_id, run_id="r1", user_id="u1", at=at(seconds), **fields)


async def test_open_inputs_are_read_back_oldest_first_before_and_after_their_thread_exists(
    stores: Stores, tenant: str
) -> None:
    late, early = opened("i1", 5, decides=("c1",)), opened("i2", 1, resumes=True)
    await stores.journal.announce(tenant, "th", late)
    await stores.journal.announce(tenant, "th", early)
    assert await stores.journal.open_inputs(tenant, "th") == [early, late]
    assert await stores.journal.open_inputs(tenant, "other") == []
    assert await stores.journal.open_inputs("another", "th") == []
    assert await stores.journal.hydrate(tenant, "th", window=1) == Hydrated(0, None, ())
    begun = early.model_copy(update={"begun": True})
    await stores.journal.announce(tenant, "th", begun)
    assert await stores.journal.open_inputs(tenant, "th") == [begun, late]
    assert await threads_of(stores.journal, tenant, "u1") == []


async def test_commit_of_an_announced_input_closes_it_and_no_other(stores: Stores, tenant: str) -> None:
    await stores.journal.announce(tenant, "th", opened("i1"))
    await stores.journal.announce(tenant, "th", opened("i2", 1))
    assert await stores.journal.commit(tenant, "th", commit("i1", 0, announced=True)) == Committed(1)
    assert await stores.journal.open_inputs(tenant, "th") == [opened("i2", 1)]
    assert await stores.journal.commit(tenant, "th", commit("i2", 0, announced=True)) == Stale()
    assert await stores.journal.open_inputs(tenant, "th") == [opened("i2", 1)]


async def test_erasing_a_thread_closes_its_inputs(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0))
    await stores.journal.announce(tenant, "th", opened("i2"))
    await stores.journal.announce(tenant, "th", opened("i3"))
    gone = head(updated=9).model_copy(update={"deleted": True})
    erasing = commit("i3", 1, thread=gone, erase=True, announced=True)
    assert await stores.journal.commit(tenant, "th", erasing) == Committed(2)
    assert await stores.journal.open_inputs(tenant, "th") == []


async def test_withdrawn_input_and_withdrawn_run_were_never_there(stores: Stores, tenant: str) -> None:
    await stores.journal.announce(tenant, "th", opened("i1"))
    await stores.journal.accept(tenant, "th", accepted("a"))
    await stores.journal.accept(tenant, "th", accepted("b"))
    await stores.journal.withdraw(tenant, "th", "i1")
    await stores.journal.withdraw(tenant, "th", "a")
    await stores.journal.withdraw(tenant, "th", "never")
    assert await stores.journal.open_inputs(tenant, "th") == []
    assert await stores.journal.accepted_ids(tenant, "th") == ["b"]


async def test_list_says_busy_while_a_worker_is_at_it_and_what_is_so_afterwards(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, thread=head(title="Mail")))
    await stores.journal.announce(tenant, "th", opened("i2"))
    assert [t.condition for t in await threads_of(stores.journal, tenant, "u1")] == ["idle"]
    await stores.journal.announce(tenant, "th", opened("i2", begun=True))
    (line,) = await threads_of(stores.journal, tenant, "u1")
    assert (line.condition, line.title) == ("busy", "Mail")
    middle = commit("i2", 1, thread=head(title="Mail"), final=False)
    await stores.journal.commit(tenant, "th", middle)
    assert [t.condition for t in await threads_of(stores.journal, tenant, "u1")] == ["busy"]

    paused = head(running=True, updated=2)
    assert paused.run
    paused = paused.model_copy(update={"run": paused.run.model_copy(update={"paused": True})})
    await stores.journal.commit(tenant, "th", commit("i2", 2, thread=paused, announced=True))
    assert [t.condition for t in await threads_of(stores.journal, tenant, "u1")] == ["approval"]
    await stores.journal.announce(tenant, "th", opened("i3", begun=True))
    assert [t.condition for t in await threads_of(stores.journal, tenant, "u1")] == ["busy"]
    await stores.journal.commit(tenant, "th", commit("i3", 3, thread=paused, announced=True))
    assert [t.condition for t in await threads_of(stores.journal, tenant, "u1")] == ["approval"]
