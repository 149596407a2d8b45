"""Which questions of a thread's pauses are still open, for readers of the pauses' events. Pure code."""

from __future__ import annotations

from schemas import ApprovalRequested, Question, RunPaused, ThreadHead


class Questions:
    """The questions of pauses, seen from one read of the thread's head.

    What is asked after that read is open. Of an earlier pause some questions, or all, may have been answered: its run may have
    been resumed, and paused again.
    """

    def __init__(self, head: ThreadHead, *, past: int | None = None) -> None:
        """Events with numbers below `past` are earlier than the read; None stands for `head.next_event`."""
        self._past = head.next_event if past is None else past
        self._open = {question.id for question in head.questions}
        self._stopped = head.run.run_id if head.run and head.paused else None
        self._calls = {
            p.call.call_id: Question.about(
                p.call.call_id, p.call.name, p.call.arguments, answered_by=head.user_id, concerns=p.concerns
            )
            for p in head.pending
        }

    def asked(self, event: ApprovalRequested) -> None:
        """Remembers what an approval is about: the pause has only its id."""
        about = Question.about(
            event.call_id, event.name, event.arguments, answered_by=event.user_id, concerns=event.concerns
        )
        self._calls[event.call_id] = about

    def all_of(self, pause: RunPaused) -> list[Question]:
        """The questions of a pause, as they were asked."""
        unknown = (Question.about(call_id, "", {}, answered_by=pause.user_id) for call_id in pause.call_ids)
        return [
            *(self._calls.get(question.id, question) for question in unknown),
            *(asked.as_question(pause.user_id) for asked in pause.interrupts),
        ]

    def open_of(self, pause: RunPaused) -> list[Question]:
        """Those that are still open."""
        found = self.all_of(pause)
        return found if pause.seq >= self._past else [question for question in found if question.id in self._open]

    def waits(self, pause: RunPaused) -> bool:
        """Whether the run is still paused there. A graph that stops before or after a node is paused without a question."""
        if pause.call_ids or pause.interrupts:
            return bool(self.open_of(pause))
        return pause.seq >= self._past or self._stopped == pause.run_id
