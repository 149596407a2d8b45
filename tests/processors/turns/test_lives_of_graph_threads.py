"""Random lives of a thread whose runs are a graph's, without a graph: whatever its legs give back."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from transition_kit import LIMITS, Thread, an_input

from schemas import (
    TERMINAL_TYPES,
    CancelRun,
    ContinueThread,
    GraphCommand,
    GraphInterrupt,
    GraphRequest,
    RunPaused,
    body_type,
)
from threads import transitions
from threads.draft import Draft
from threads.graph_transitions import on_any_input
from threads.leg_ends import Asked, Failed, Finished, GraphWork, LegEnd, LegResult, Stopped, on_leg
from threads.open_questions import Questions
from threads.transitions import Next

ONE, TWO = (GraphInterrupt(id="one", value="?"),), (GraphInterrupt(id="two", value="?"), GraphInterrupt(id="three"))
MOVES = st.sampled_from(
    ["say", "reject", "interrupt", "rollback", "answer", "answer nothing", "go on", "cancel", "continue"]
)
ENDS = st.sampled_from(
    [
        Finished(),
        Asked(ONE),
        Asked(TWO),
        Asked(),
        Failed("graph_error", "broken", "ValueError", TWO),
        Failed("graph_error", "broken", "ValueError"),
        Stopped("interrupted"),
        Stopped("rolled_back"),
    ]
)


class GraphThread(Thread):
    """As a `Thread`. `asked` are the ids of the questions that nobody has answered, as its legs say."""

    asked: tuple[str, ...] = ()

    def send(self, end: LegEnd, strategy: Any = "enqueue", **request: Any) -> None:
        new = an_input(f"m{self.count}", "", self.clock, run_id=f"r{self.count}").model_copy(
            update={"kind": "graph", "graph": GraphRequest(graph="g", **request)}
        )
        draft = self.draft(new)
        self.work(draft, on_any_input(draft, new, LIMITS, strategy), end)

    def answer(self, end: LegEnd, *names: str) -> None:
        self.send(end, command=GraphCommand(resumes=True, resume=1, answers=names))

    def stop(self, end: LegEnd) -> None:
        draft = self.draft()
        self.work(draft, transitions.on_cancel(draft, CancelRun(user_id="u")), end)

    def proceed(self, end: LegEnd) -> None:
        assert self.head
        draft = self.draft()
        self.work(draft, transitions.on_continue(draft, ContinueThread(run_id=self.head.queued[0].run_id)), end)

    def work(self, draft: Draft, following: Next, end: LegEnd) -> None:
        if following is Next.LEG:
            on_leg(draft, LegResult(end, self.clock, GraphWork(began_at="")))
            asks = end.interrupts if isinstance(end, Asked) else end.asks if isinstance(end, Failed) else ()
            self.asked = tuple(asked.id for asked in asks)
        elif draft.head.run is None and self.head and self.head.run:
            self.asked = ()  # it was cancelled
        self.commit(draft)


@settings(max_examples=300)
@given(st.lists(st.tuples(MOVES, ENDS), max_size=25))
def test_any_life_of_a_graphs_thread_ends_every_run_once_and_lists_what_it_asks(moves: list[Any]) -> None:
    thread = GraphThread()
    thread.send(Finished(), input={"a": 1})
    for move, end in moves:
        head = thread.head
        assert head
        if move in ("say", "reject", "interrupt", "rollback"):
            thread.send(end, "enqueue" if move == "say" else move, input={"a": 1})
        elif move == "answer":
            thread.answer(end, *thread.asked)
        elif move == "answer nothing":
            thread.answer(end, "answered long ago")
        elif move == "go on":
            thread.send(end)
        elif move == "cancel":
            thread.stop(end)
        elif move == "continue" and head.run is None and head.queued:
            thread.proceed(end)
        check(thread)
    while thread.head and (thread.head.run or thread.head.queued):
        thread.stop(Finished()) if thread.head.run else thread.proceed(Finished())
        check(thread)
    ended = [event.run_id for event in told(thread) if event.TYPE in TERMINAL_TYPES]
    assert len(ended) == len(set(ended)), "a run ended twice"
    begun = {event.run_id for event in told(thread) if event.TYPE in ("cauce.run.started", "cauce.run.queued")}
    assert begun <= set(ended), "a run never ended"
    kinds = {run.kind for run in thread.runs if run.run_id in begun}
    assert kinds == {"graph"}


def told(thread: Thread) -> list[Any]:
    found = []
    for stored in thread.events:
        kind = body_type("chat.responses", stored.type)
        assert kind
        found.append(kind.model_validate_json(stored.body))
    return found


def check(thread: GraphThread) -> None:
    head = thread.head
    assert head
    assert tuple(question.id for question in head.questions) == thread.asked
    assert head.paused == (head.run is not None), "between its turns a graph's run waits for its user"
    if head.paused:
        pause = [event for event in told(thread) if isinstance(event, RunPaused)][-1]
        assert Questions(head).waits(pause)
        assert tuple(question.id for question in Questions(head).open_of(pause)) == thread.asked
