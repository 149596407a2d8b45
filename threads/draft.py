"""A turn being written: the head as it will be, and the messages, events and outputs that go with it.

Pure code. Transitions change a draft; `commit` turns it into the one batch that the journal takes or refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from schemas import (
    Action,
    ActiveRun,
    Commit,
    Envelope,
    GraphRequest,
    Hydrated,
    Message,
    Output,
    ProcessedInput,
    StateRow,
    StoredMessage,
    ThreadEvent,
    ThreadHead,
    ThreadKey,
    TooLarge,
    Topic,
    audit_output,
    check_body,
    derived_id,
    encode_outputs,
    within,
)
from schemas.base import Body
from threads.evolve import ThreadLog

SOURCE = "cauce/turns"


@dataclass
class Draft(ThreadLog):
    """What one input does to a thread. `now` is the time of everything that it writes."""

    thread: ThreadKey
    input_id: str
    now: datetime
    base: Hydrated
    head: ThreadHead
    source: str
    """Position of the record that the input came in."""
    traceparent: str | None = None
    kind: str = ""
    """`TYPE` of the input."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """`Envelope.origin` of the input."""
    outputs: list[Output] = field(default_factory=list)
    rows: tuple[StateRow, ...] = ()
    """What a graph's state gained and is not in the journal yet."""
    restore: str | None = None
    """The checkpoint that a graph's state is to go back to with this batch, empty for none at all; None leaves it."""
    request: GraphRequest | None = None
    """The whole request to a graph; its run keeps only how it is executed, not its input."""
    state_before: str | None = None
    """The checkpoint that the thread stood at before the run whose graph works in this turn, empty for none."""
    announced: bool = False
    """Readers may have seen the input before its turn."""
    rows_known: tuple[StoredMessage, ...] = ()
    """The newest messages of all branches, where the input goes back to an earlier one."""

    @property
    def run(self) -> ActiveRun:
        """The active run. Raises `LookupError` where there is none."""
        if self.head.run is None:
            raise LookupError(f"no run of the thread {self.thread} is active")
        return self.head.run

    def count_rows(self, next_row: int) -> None:
        """Rows of a graph's state below this number are given out."""
        self.head = self.head.model_copy(update={"next_row": next_row})

    def event(self, kind: type[ThreadEvent], *, run_id: str, **fields: Any) -> None:
        """Appends an event to the thread's log and to `chat.responses`."""
        body = self._event(kind, run_id=run_id, **fields)
        self.head = self.append(self.head, body)
        envelope = self._envelope(derived_id("ev", self.thread, body.seq), kind.TYPE)
        text = self.events[-1].body.encode()
        self.outputs.append(Output(Topic.CHAT_RESPONSES, str(self.thread), text, envelope.headers()))

    def fits(self, kind: type[ThreadEvent], *, run_id: str, **fields: Any) -> bool:
        """Whether `chat.responses` takes this event."""
        try:
            check_body(Topic.CHAT_RESPONSES, self._event(kind, run_id=run_id, **fields))
        except TooLarge:
            return False
        return True

    def _event(self, kind: type[ThreadEvent], *, run_id: str, **fields: Any) -> ThreadEvent:
        return kind(seq=self.head.next_event, run_id=run_id, user_id=self.head.user_id, at=self.now, **fields)

    def send(self, topic: Topic, body: Body, *, record_id: str) -> None:
        """Publishes a record with the thread's key."""
        event_type: str = body.TYPE  # type: ignore[attr-defined]
        self.outputs.append(Output.of(topic, str(self.thread), body, self._envelope(record_id, event_type)))

    def audit(self, action: Action, *, actor: str, run_id: str | None = None, **fields: Any) -> None:
        """Adds a line to the tenant's audit trail. What a user did has the origin of the input."""
        origin = self.origin if actor.startswith("user:") else {}
        self.outputs.append(
            audit_output(
                tenant_id=self.thread.tenant_id,
                at=self.now,
                action=action,
                actor=actor,
                source=SOURCE,
                traceparent=self.traceparent,
                id_parts=(self.thread, self.input_id, len(self.outputs)),
                user_id=self.head.user_id,
                thread_id=self.thread.thread_id,
                run_id=run_id,
                **origin,
                **fields,
            )
        )

    def ids_from(self, seq: int) -> tuple[str, ...]:
        """The ids of the known messages from this number on, also of those of this draft."""
        return tuple(s.message.message_id for s in (*self.base.messages, *self.messages) if s.seq >= seq)

    def take_back(self, head: ThreadHead, base: Hydrated) -> None:
        """Forgets what was written since the draft was new, and had these."""
        self.base, self.head, self.messages, self.events, self.outputs = base, head, [], [], []

    @property
    def history(self) -> Sequence[Message]:
        """The messages that the model may see: the hydrated window and what this draft added."""
        return [s.message for s in self._on_the_branch((*self.base.messages, *self.messages))]

    def take_branch(self, window: int) -> None:
        """The branch of the head has changed: its newest messages of before this draft are what the model may see."""
        self.base = replace(self.base, messages=self._on_the_branch(self.rows_known)[-window:])

    def _on_the_branch(self, messages: Sequence[StoredMessage]) -> tuple[StoredMessage, ...]:
        cut, spans = self.remove_from, self.head.branch
        new = {s.seq for s in self.messages}
        return tuple(s for s in messages if within(s.seq, spans) and (cut is None or s.seq < cut or s.seq in new))

    def commit(self, unpublished: Iterable[ProcessedInput] = ()) -> Commit:
        """The batch for the journal. `unpublished` are inputs before this one, see `ThreadHead`."""
        this = ProcessedInput(input_id=self.input_id, source=self.source)
        settled: dict[str, Any] = {"updated_at": self.now, "unpublished": (*unpublished, this)}
        if self.rows or self.erased or self.head.progress == self.input_id:
            # Another input's graph cannot resume from a state that is not its own.
            settled |= {"progress": "", "progress_from": ""}
        return Commit(
            input_id=self.input_id,
            expected_version=self.base.version,
            head=self.head.model_copy(update=settled),
            outputs=encode_outputs(self.outputs, self.source),
            messages=tuple(self.messages),
            events=tuple(self.events),
            runs=tuple(self.runs),
            rows=self.rows,
            erase=self.erased,
            announced=self.announced,
            remove_messages_from=self.remove_from,
        )

    def superstep(self, rows: tuple[StateRow, ...], next_row: int, *, began_at: str) -> Commit:
        """A batch with these rows alone, while the input's graph keeps running: nothing but its state changes.

        `began_at` is the checkpoint that the graph began at, empty for none.
        """
        nothing_yet = {"run": None, "pending": (), "next_message": 1, "next_event": 1, "agent_id": "", "title": ""}
        head = self.base.head or self.head.model_copy(update=nothing_yet)
        progress = {"progress": self.input_id, "progress_from": began_at, "next_row": next_row}
        return Commit(
            input_id=self.input_id,
            expected_version=self.base.version,
            head=head.model_copy(update=progress),
            outputs=b"",
            rows=rows,
            final=False,
        )

    def superstep_committed(self, commit: Commit, version: int) -> None:
        """Continues from the thread as the superstep's batch left it."""
        self.base = Hydrated(version, commit.head, self.base.messages)
        # The progress, too: the last batch takes it away, also where it has no row left to write.
        made = {name: getattr(commit.head, name) for name in ("next_row", "progress", "progress_from")}
        self.head = self.head.model_copy(update=made)

    def _envelope(self, record_id: str, event_type: str) -> Envelope:
        return Envelope(record_id, event_type, SOURCE, self.thread.tenant_id, self.now, self.traceparent)
