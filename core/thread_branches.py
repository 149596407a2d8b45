"""The messages of a thread on all branches, and the conversation up to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas import Message, StoredMessage, ThreadHead, branch, within


@dataclass(frozen=True, slots=True)
class Branches:
    """A thread of one moment: its head, and its newest messages in the order of their numbers."""

    head: ThreadHead
    rows: Sequence[StoredMessage]

    @property
    def conversation(self) -> list[StoredMessage]:
        """The messages of the present conversation."""
        return self.up_to(self.head.newest_message)

    def up_to(self, seq: int) -> list[StoredMessage]:
        """The messages up to one, on the branch that it is on; none for 0."""
        spans = branch(self.head.forks, seq)
        return [stored for stored in self.rows if within(stored.seq, spans)]

    def has(self, seq: int) -> bool:
        """Whether the conversation can go back to this message; to its beginning for 0."""
        return seq == 0 or any(stored.seq == seq for stored in self.rows)

    def find(self, message_id: str) -> StoredMessage | None:
        """The message of this id, as it is in the conversation, or as it was last."""
        return self.by_id().get(message_id)

    def by_id(self) -> dict[str, StoredMessage]:
        """The messages by their ids, each as it is in the conversation, or as it was last."""
        return {stored.message.message_id: stored for rows in (self.rows, self.conversation) for stored in rows}

    def before(self, stored: StoredMessage) -> int:
        """The number of the message that one follows; 0 for the first."""
        return max((s.seq for s in self.up_to(stored.seq) if s.seq < stored.seq), default=0)


def waits_for_an_answer(messages: Sequence[Message]) -> bool:
    """Whether an agent has something to say after these."""
    return bool(messages) and (messages[-1].role != "assistant" or bool(messages[-1].tool_calls))
