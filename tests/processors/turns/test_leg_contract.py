"""The processor commits what a leg gives back, whatever leg it is, and takes what legs may raise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from turns_kit import System, kinds, messages, record, say, system

from processors.settings_cache import TenantCache
from processors.turns.leg import LostRace, Work
from processors.turns.processor import TurnsProcessor
from schemas import GraphInput, GraphRequest, RawRecord, RunLimits, Tenant
from streams import Reject
from threads.leg_ends import Answer, Answered, Failed, LegEnd, LegResult, Ruling, Stopped

__all__ = ["system"]

NOON = datetime(2126, 1, 31, 12, tzinfo=UTC)


class Parrot:
    """A leg without a model: it says what was said last, or does what it was made for."""

    def __init__(self, end: Callable[[Work], LegEnd] | None = None) -> None:
        self._end = end or self._again
        self.seen: list[RawRecord] = []
        self.works = 0

    def limits(self, tenant: Tenant, agent_id: str) -> RunLimits | None:
        return RunLimits() if agent_id == "default" else None

    def arrived(self, raw: RawRecord) -> None:
        self.seen.append(raw)

    async def run(self, work: Work) -> LegResult:
        self.works += 1
        return LegResult(self._end(work), NOON)

    def _again(self, work: Work) -> LegEnd:
        return Answered(Answer(work.draft.history[-1].text), lambda name: Ruling("run"))


def processor(system: System, leg: Parrot) -> TurnsProcessor:
    tenants = TenantCache(system.stores.directory, ttl=0)
    return TurnsProcessor(system.stores.journal, system.stores.ledger, tenants, {"agent": leg})


async def test_what_a_leg_answers_is_committed_with_the_time_of_its_end(system: System) -> None:
    await system.tenant("scripted:")
    assert kinds(await processor(system, Parrot()).process(say("hello"))) == [
        *("run.started", "message.added", "message.added", "run.completed")
    ]
    assert await messages(system) == ["user: hello", "assistant: hello"]
    (over,) = await system.stores.journal.runs("acme", "t1")
    assert (over.kind, over.ended_at) == ("agent", NOON)


@pytest.mark.parametrize(
    ("end", "last"), [(Failed("model_error", "no"), "run.failed"), (Stopped("cancelled"), "run.cancelled")]
)
async def test_leg_that_fails_or_is_stopped_ends_its_run(system: System, end: LegEnd, last: str) -> None:
    await system.tenant("scripted:")
    outputs = await processor(system, Parrot(lambda work: end)).process(say("hello"))
    assert kinds(outputs) == ["run.started", "message.added", last]


async def test_leg_that_has_lost_a_race_is_run_again_from_the_start(system: System) -> None:
    await system.tenant("scripted:")

    def lose_once(work: Work) -> LegEnd:
        if leg.works == 1:
            raise LostRace
        return Answered(Answer("won"), lambda name: Ruling("run"))

    leg = Parrot(lose_once)
    await processor(system, leg).process(say("hello"))
    assert leg.works == 2
    assert await messages(system) == ["user: hello", "assistant: won"]


async def test_input_is_refused_where_no_leg_works_on_its_kind_or_for_its_agent(system: System) -> None:
    await system.tenant("scripted:")
    leg = Parrot()
    wrong: list[Any] = [
        say("hello", agent_id="nobody"),
        record(GraphInput(user_id="u", agent_id="g", request=GraphRequest(graph="g"))),
    ]
    for one in wrong:
        with pytest.raises(Reject, match="has no agent"):
            await processor(system, leg).process(one)
    assert leg.works == 0


async def test_every_leg_is_told_what_has_come(system: System) -> None:
    leg, one = Parrot(), say("hello")
    processor(system, leg).arrived(one.raw)
    assert leg.seen == [one.raw]
