"""How much of each answer a client has: pieces are sent once, and the whole message brings what is missing."""

from __future__ import annotations

from dataclasses import dataclass

from core.following.feed import TextPiece
from core.following.position import Position


@dataclass
class _Answer:
    attempt: int
    start: int
    """Characters that the client had from before it came back."""
    text: str = ""

    @property
    def seen(self) -> int:
        return self.start + len(self.text)


class Answers:
    """For protocols whose clients put pieces together and cannot take them back."""

    def __init__(self, position: Position) -> None:
        self._had = (position.message_id, position.offset)
        self._answers: dict[str, _Answer] = {}
        self._done: set[str] = set()

    def fresh(self, piece: TextPiece) -> tuple[str, int]:
        """What of a piece the client has not seen, and how many characters it then has."""
        if piece.message_id in self._done:
            return "", 0
        answer = self._answers.get(piece.message_id)
        if answer is None:
            had = self._had[1] if piece.message_id == self._had[0] else 0
            answer = self._answers[piece.message_id] = _Answer(piece.attempt, had)
        if answer.attempt != piece.attempt or piece.offset > answer.seen:
            return "", answer.seen  # another attempt writes another text, which comes with the message
        fresh = piece.text[answer.seen - piece.offset :]
        answer.text += fresh
        return fresh, answer.seen

    def so_far(self, message_id: str) -> str:
        """What this stream has sent of an answer."""
        answer = self._answers.get(message_id)
        return answer.text if answer else ""

    def rest(self, message_id: str, text: str) -> tuple[str, bool]:
        """What is missing of a whole answer, and whether the client has any of it. After this, late pieces are not fresh."""
        self._done.add(message_id)
        answer = self._answers.pop(message_id, None)
        if answer is None:
            had = self._had[1] if message_id == self._had[0] else 0
            return text[had:], had > 0
        if text[answer.start : answer.seen] != answer.text:
            return "", True
        return text[answer.seen :], answer.seen > 0
