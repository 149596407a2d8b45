"""What the events of graphs' runs tell of a thread: runs, messages and pauses; the state itself is not in them."""

from __future__ import annotations

from typing import Any

import pytest
from graph_kit import Hosting, _fresh_graphs, answer, hosting, raw, run, say
from turns_kit import record
from turns_kit import say as message

from schemas import CancelRun, Record, ThreadEvent, ThreadHead, Topic, UpdateState, decode
from threads.replay import Replayed

__all__ = ["_fresh_graphs", "hosting"]


class Watched:
    """Processes records of one thread, and keeps the head after each and all events."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting, self._processor = hosting, hosting.processor()
        self.heads: list[ThreadHead | None] = [None]
        self.events: list[ThreadEvent] = []

    async def do(self, one: Record) -> None:
        for output in await self._processor.process(one):
            if output.topic is Topic.CHAT_RESPONSES:
                self.events.append(decode(raw(output)).body)
        self.heads.append(await self._hosting.head())

    async def check(self) -> None:
        journal, now = self._hosting.stores.journal, await self._hosting.head()
        for before in self.heads:
            replayed = Replayed(before)
            replayed.apply(self.events)
            assert replayed.head
            assert comparable(replayed.head) == comparable(now)
        whole = Replayed(None)
        whole.apply(self.events)
        stored = await journal.hydrate("acme", "t1", window=1000)
        kept = [m for m in whole.messages if m.seq < (whole.remove_from or 10_000) or m in stored.messages]
        assert tuple(kept) == stored.messages
        assert whole.events == await journal.events("acme", "t1", limit=10_000)
        assert whole.runs == await journal.runs("acme", "t1")


def comparable(head: ThreadHead) -> dict[str, Any]:
    """Without what a store counts, and when a record came that changed nothing."""
    return head.model_dump(exclude={"updated_at", "unpublished", "next_row"})


@pytest.fixture
def watched(hosting: Hosting) -> Watched:
    return Watched(hosting)


async def test_replay_of_a_graphs_pauses_and_answers_gives_the_live_head(watched: Watched) -> None:
    await watched.do(run("chat", say("hi")))
    await watched.do(run("steps", {}))
    await watched.do(run("asks", {}))
    await watched.check()
    await watched.do(record(UpdateState(user_id="u", graph="asks", values={"log": ["by hand"]})))
    await watched.check()
    await watched.do(answer("asks", "yes"))
    await watched.do(answer("asks", "too late"))
    await watched.check()


async def test_replay_of_abandoned_and_rolled_back_graph_runs_gives_the_live_head(watched: Watched) -> None:
    await watched.do(run("chat", say("hi")))
    for strategy in ("enqueue", "interrupt", "rollback"):
        await watched.do(run("asks", {"messages": [{"role": "user", "content": "q"}]}))
        await watched.do(run("asks", {"log": [strategy]}, multitask_strategy=strategy))
        await watched.check()
    await watched.do(record(CancelRun(user_id="u")))
    await watched.do(run("nope", {}))
    await watched.do(message("to the agent"))
    await watched.check()
