from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.tools.decisions import Step, next_step
from schemas import CallState, LedgerEntry

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def entry(state: CallState, owner: str = "before") -> LedgerEntry:
    return LedgerEntry(
        call_id="c1",
        run_id="r1",
        thread_id="t1",
        user_id="u1",
        name="Gmail_SendEmail",
        source="tool.requests/0/7",
        state=state,
        owner=owner,
        attempts=1,
        created_at=NOON,
        updated_at=NOON,
    )


@pytest.mark.parametrize(
    ("state", "repeatable", "expected"),
    [
        (None, False, Step.CLAIM),
        (None, True, Step.CLAIM),
        ("intent", False, Step.SEND),
        ("intent", True, Step.SEND),
        ("sent", False, Step.CHECK),
        ("sent", True, Step.REPEAT),
        ("done", False, Step.ANSWER),
        ("done", True, Step.ANSWER),
        ("unknown", False, Step.ANSWER),
        ("unknown", True, Step.ANSWER),
    ],
)
def test_the_ledger_decides_what_is_done_next(state: CallState | None, repeatable: bool, expected: Step) -> None:
    assert next_step(entry(state) if state else None, repeatable=repeatable) is expected


@dataclass
class World:
    """One call's ledger row, moved as `state.ToolLedger` promises, and what happened outside."""

    row: LedgerEntry | None = None
    sends: int = 0
    effects: int = 0
    settled: list[CallState] = field(default_factory=list)

    def claim(self, mine: LedgerEntry) -> LedgerEntry | None:
        if self.row is None:
            self.row = mine
            return None
        return self.row

    def move(self, from_state: CallState, to: CallState, owner: str, *, held_by: str | None = None) -> bool:
        if self.row is None or self.row.state != from_state or held_by not in (None, self.row.owner):
            return False
        self.row = self.row.model_copy(update={"state": to, "owner": owner})
        if to in ("done", "unknown"):
            self.settled.append(to)
        return True


def owner_of(world: World, name: str, *, repeatable: bool) -> Generator[str, str, None]:
    """One owner's way through a call, a step at a time. It may be ended, or left standing, at every `yield`.

    Yields `send` where the outcome of a send is to be sent in: `ok`, `lost` (carried out, the answer lost), `broken`
    (not carried out, and nobody knows) or `refused` (certainly not carried out).
    """
    yield "begun"
    found = world.claim(entry("sent", name))
    step = next_step(found, repeatable=repeatable)
    yield "read"
    if step is Step.ANSWER:
        return
    if step is Step.SEND and not world.move("intent", "sent", name):
        return
    if step in (Step.REPEAT, Step.CHECK):
        assert found
        if not world.move("sent", "sent", name, held_by=found.owner):
            return
    yield "owns"
    if step is Step.CHECK:
        world.move("sent", "done" if world.effects else "unknown", name, held_by=name)
        return
    outcome = yield "send"
    world.sends += 1
    world.effects += outcome in ("ok", "lost")
    yield "sent"
    if outcome == "refused" or (outcome != "ok" and repeatable):
        world.move("sent", "intent", name, held_by=name)
        return
    if outcome == "ok":
        world.move("sent", "done", name, held_by=name)
        return
    found_by_read = world.effects > 0
    yield "looked"
    world.move("sent", "done" if found_by_read else "unknown", name, held_by=name)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["go", "go", "go", "go", "crash"]),
        st.sampled_from(["ok", "lost", "broken", "refused"]),
    ),
    max_size=80,
)


def play(steps: list[tuple[int, str, str]], *, repeatable: bool) -> tuple[World, int]:
    """Lets three workers step in any order, each crashing anywhere; the world, and the sends that were refused."""
    world, names, refused = World(), iter(range(1000)), 0
    workers: dict[int, Generator[str, str, None]] = {}
    waiting_to_send: set[int] = set()

    def step(who: int, outcome: str) -> bool:
        """One step of a worker, who begins anew when it ended; whether it goes on."""
        nonlocal refused
        worker = workers.setdefault(who, owner_of(world, f"owner{next(names)}", repeatable=repeatable))
        try:
            if who in waiting_to_send:
                waiting_to_send.discard(who)
                refused += outcome == "refused"
                worker.send(outcome)
            elif next(worker) == "send":
                waiting_to_send.add(who)
        except StopIteration:
            del workers[who]
            return False
        return True

    for who, action, outcome in steps:
        if action == "crash":
            workers.pop(who, None)
            waiting_to_send.discard(who)
        else:
            step(who, outcome)
    # The rest of the owners go on to their end, then one more comes, as Kafka would deliver the record again.
    for who in [*workers, 99, 99, 99]:
        while step(who, "ok"):
            pass
    return world, refused


@settings(max_examples=200)
@given(STEPS)
def test_no_interleaving_of_owners_and_crashes_carries_out_a_call_twice(steps: list[tuple[int, str, str]]) -> None:
    world, refused = play(steps, repeatable=False)
    assert world.effects <= 1
    assert world.sends - refused <= 1


@settings(max_examples=200)
@given(STEPS, st.booleans())
def test_every_call_is_settled_once_whatever_crashes(steps: list[tuple[int, str, str]], repeatable: bool) -> None:
    world, _ = play(steps, repeatable=repeatable)
    assert len(world.settled) == 1


@settings(max_examples=200)
@given(STEPS)
def test_a_call_is_called_done_only_when_it_was_carried_out(steps: list[tuple[int, str, str]]) -> None:
    world, _ = play(steps, repeatable=False)
    assert world.settled == ["unknown"] or world.effects == 1


@settings(max_examples=200)
@given(STEPS)
def test_a_call_that_may_be_repeated_always_comes_to_be_done(steps: list[tuple[int, str, str]]) -> None:
    world, _ = play(steps, repeatable=True)
    assert world.settled == ["done"]
    assert world.effects >= 1
