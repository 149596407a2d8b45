"""Shows a run in the terminal: pieces of the answer, tool calls, questions, and how it ends."""

from __future__ import annotations

import json
from typing import Any

from cauce.screen import Screen, one_line, styled
from connectors.chat_client.kafka_client import Event, Unread
from core.following.event_methods import EventMethods
from schemas import (
    AnswerDiscarded,
    ApprovalRequested,
    ApprovalResolved,
    Delta,
    GraphStreamed,
    InputRefused,
    MessageAdded,
    MessagesRemoved,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunQueued,
    RunResumed,
    RunStarted,
    StateUpdated,
    ThreadChanged,
    ToolFinished,
    ToolRequested,
)


class Transcript(EventMethods):
    """Prints events as they arrive."""

    LEAVES_OUT = frozenset(
        {
            RunStarted,
            RunPaused,
            RunResumed,
            AnswerDiscarded,
            MessagesRemoved,
            ApprovalResolved,
            ThreadChanged,
            GraphStreamed,
            StateUpdated,
        }
    )

    def __init__(self, out: Screen) -> None:
        self._out = out
        self._asked: list[ApprovalRequested] = []
        self._streaming = ""
        """The message whose pieces are being printed."""
        self._printed = ""
        self._finished: set[str] = set()
        """Calls whose results have been shown."""

    def taken(self) -> list[ApprovalRequested]:
        """The approvals requested since the last call."""
        asked, self._asked = self._asked, []
        return asked

    def show(self, event: Event) -> None:
        """Prints an event, or a piece of an answer."""
        if isinstance(event, Delta):
            self._print_piece(event)
        elif isinstance(event, Unread):
            self._notify(event.message)
        else:
            self.dispatch(event)

    def on_message_added(self, event: MessageAdded) -> None:
        """Prints the agent's messages only: users have seen what they typed."""
        if event.message.role == "assistant":
            self._print_message(event)

    def on_tool_requested(self, event: ToolRequested) -> None:
        """Prints a tool call, with its arguments as far as they fit."""
        self._out.print(one_line((f"  → {event.name} {_short(event.arguments)}", "dim")))

    def on_tool_finished(self, event: ToolFinished) -> None:
        """Prints how a call ended, once: the live result may arrive before the event."""
        if event.call_id in self._finished:
            return
        self._finished.add(event.call_id)
        mark, style = ("✓", "green") if event.status == "ok" else ("✗", "red")
        took = f" {event.duration_ms:.0f} ms" if event.duration_ms else ""
        reason = "" if event.status == "ok" else f": {event.content[:200]}"
        self._out.print(one_line("  ", (mark, style), (f" {event.name} {event.status}{took}{reason}", "dim")))

    def on_approval_requested(self, event: ApprovalRequested) -> None:
        """Keeps the request until the run pauses; then the chat asks the user."""
        self._asked.append(event)

    def on_run_queued(self, event: RunQueued) -> None:
        """Prints the position of the input in the queue."""
        self._out.print(f"queued at position {event.position}", style="dim")

    def on_run_completed(self, event: RunCompleted) -> None:
        """Prints the notice, if there is one."""
        if event.notice:
            self._notify(event.notice)

    def on_run_failed(self, event: RunFailed) -> None:
        """Prints the reason."""
        self._notify(event.message)

    def on_run_cancelled(self, event: RunCancelled) -> None:
        """Prints the reason."""
        self._notify(event.message)

    def on_input_refused(self, event: InputRefused) -> None:
        """Prints the reason."""
        self._out.print(one_line((f"rejected: {event.reason}", "yellow")))

    def _notify(self, text: str) -> None:
        self._end_stream()
        self._out.print(styled((text, "yellow")))

    def _print_piece(self, delta: Delta) -> None:
        key = f"{delta.message_id}/{delta.attempt}"
        if self._streaming != key:
            self._end_stream()
            self._streaming, self._printed = key, ""
            self._out.print(styled(("agent ›", "bold green"), " "), end="")
        self._printed += delta.text
        self._out.print(styled(delta.text), end="")

    def _print_message(self, event: MessageAdded) -> None:
        """Prints the rest of the text after the pieces, or all of it if there were none."""
        text = event.message.text
        if self._streaming.startswith(f"{event.message.message_id}/") and text.startswith(self._printed):
            self._out.print(styled(text[len(self._printed) :]), end="")
            self._end_stream()
        elif text:
            self._end_stream()
            self._out.print(styled(("agent › ", "bold green"), text))

    def _end_stream(self) -> None:
        if self._streaming:
            self._out.print()
        self._streaming = self._printed = ""


def _short(arguments: dict[str, Any]) -> str:
    text = ", ".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in arguments.items())
    return text if len(text) <= 100 else f"{text[:97]}..."
