"""Implements `cauce ask`: sends one question and returns the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from cauce.settings import Settings
from connectors.chat_client import ChatClient
from connectors.chat_client.kafka_client import Listener
from core.following.event_methods import EventMethods, kinds
from schemas import (
    ApprovalRequested,
    MessageAdded,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    ThreadEvent,
    ToolFinished,
    new_id,
)
from streams.dead_letters import until_dead

ROUNDS = 50
"""Number of pauses in one run that `--yes` approves before it gives up."""


@dataclass
class Answer(EventMethods):
    """The outcome of a question. `state`: completed, approval, failed, cancelled or timeout."""

    LEAVES_OUT = frozenset(kinds()) - {
        MessageAdded,
        ToolFinished,
        ApprovalRequested,
        RunPaused,
        RunCompleted,
        RunFailed,
        RunCancelled,
    }

    thread: str
    run: str
    text: str = ""
    state: str = "timeout"
    explanation: str = "no answer arrived in time; the run continues, see: cauce threads show"
    tool_calls: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain JSON values, for `--json`."""
        calls = list(self.tool_calls.values())
        return {"thread": self.thread, "run": self.run, "text": self.text, "tool_calls": calls, "state": self.state}

    def on_message_added(self, event: MessageAdded) -> None:
        """Records the answer's text and its tool calls."""
        if event.message.role == "assistant":
            self.text = event.message.text or self.text
            for call in event.message.tool_calls:
                row = {"id": call.call_id, "name": call.name, "arguments": call.arguments, "status": "requested"}
                self.tool_calls[call.call_id] = row

    def on_tool_finished(self, event: ToolFinished) -> None:
        """Records the status of a finished tool call."""
        self.tool_calls[event.call_id]["status"] = event.status

    def on_approval_requested(self, event: ApprovalRequested) -> None:
        """Marks a tool call as waiting for approval."""
        self.tool_calls[event.call_id]["status"] = "approval"

    def on_run_paused(self, event: RunPaused) -> None:
        """Explains which tool calls need approval and how to continue."""
        names = ", ".join(self.tool_calls[c]["name"] for c in event.call_ids)
        self.state = "approval"
        self.explanation = (
            f"approval needed for {names}; decide in `cauce chat --thread {self.thread}`, or ask again with --yes"
        )

    def on_run_completed(self, event: RunCompleted) -> None:
        """Ends as completed."""
        self.state, self.explanation = "completed", event.notice or ""

    def on_run_failed(self, event: RunFailed) -> None:
        """Ends as failed."""
        self.state, self.explanation = "failed", event.message

    def on_run_cancelled(self, event: RunCancelled) -> None:
        """Ends as cancelled."""
        self.state, self.explanation = "cancelled", event.message


async def ask_once(settings: Settings, text: str, *, thread: str | None, approve: bool, timeout: float) -> Answer:
    """Sends the question and follows its run. Raises `Unavailable` when Kafka does not answer."""
    kafka = settings.kafka_servers
    thread = thread or new_id("t")
    async with ChatClient(kafka, settings.tenant, settings.user) as client:
        listener = await client.listen(deltas=False)
        try:
            answer = Answer(thread, await client.send(thread, text))
            following = asyncio.create_task(_follow(client, listener, answer, approve=approve))
            refused = asyncio.create_task(until_dead(kafka, answer.run))
            try:
                done, _ = await asyncio.wait((following, refused), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (following, refused):
                    task.cancel()
            if following in done:
                following.result()
            elif refused in done:
                answer.state, answer.explanation = "failed", f"not accepted: {refused.result()}"
            else:
                answer.state = "timeout"
            return answer
        finally:
            await listener.close()


async def _follow(client: ChatClient, listener: Listener, answer: Answer, *, approve: bool) -> None:
    for _ in range(ROUNDS):
        async for event in listener.run(answer.thread, answer.run):
            if isinstance(event, ThreadEvent):
                answer.dispatch(event)
            if isinstance(event, RunPaused) and approve:
                for call_id in event.call_ids:
                    await client.decide(answer.thread, call_id, "approve")
        if answer.state != "approval" or not approve:
            return
