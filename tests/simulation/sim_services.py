"""The outside: a model that is slow, fails and never says the same twice, and tools whose effects are counted.

A message's text is the plan of its run: `Send,Read|Pay` asks for two tools, then for one, then answers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sim_loop import Node, VirtualLoop
from sim_network import LostAnswer, Network

from connectors.toolset import Call, ToolOutcome, ToolSpec
from schemas import Message
from threads.leg_ends import Answer, AskedTool

TOOLS = {
    name: ToolSpec(name=name, description="", parameters={"type": "object"}, read_only=read_only, idempotent=idempotent)
    for name, read_only, idempotent in (
        ("Read", True, True),
        ("Put", False, True),
        ("Send", False, False),  # what became of it can be read
        ("Pay", False, False),  # nobody can tell
    )
}
_TIMEOUT = 4.0


class SimService:
    """What the tools act on."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        """By the tag of the call, of tools that must not be repeated."""
        self.executions: Counter[str] = Counter()


class Panic(BaseException):
    """What an extension of somebody else's raises."""


def end_oddly(loop: VirtualLoop) -> None:
    """Now and then code of others ends with what is no `Exception`, or cancels the task that it runs in."""
    chance = loop.random.random()
    if chance < 0.01:
        raise Panic("out of bounds")
    if chance < 0.02:
        raise asyncio.CancelledError
    if chance < 0.03:
        task = asyncio.current_task()
        assert task
        task.cancel()


class SimAgent:
    """`processors.turns.agent_leg.Agent` without LangGraph: the bare model."""

    def __init__(self, loop: VirtualLoop, asked: Counter[str]) -> None:
        self._loop, self._asked = loop, asked

    async def leg(self, history: Sequence[Message], context: Any) -> Answer:
        """Follows the plan in the last message of the user."""
        chance = self._loop.random
        start = max(n for n, message in enumerate(history) if message.role == "user")
        plan = [step.split(",") for step in history[start].text.split("|") if step != "answer"]
        step = sum(message.role == "assistant" for message in history[start:])
        self._asked[f"{history[start].message_id}/{step}"] += 1
        await asyncio.sleep(chance.random() * (8 if chance.random() < 0.05 else 0.3))
        if chance.random() < 0.05:
            raise ConnectionError("the model broke off")
        end_oddly(self._loop)
        await asyncio.sleep(0)
        context.on_text("so")
        nonce = chance.getrandbits(32)
        if step >= len(plan):
            return Answer(f"done {nonce}")
        tag = f"{history[start].message_id}/{step}"
        return Answer(
            "", tuple(AskedTool(name, {"tag": f"{tag}/{n}", "nonce": nonce}) for n, name in enumerate(plan[step]))
        )


class SimTools:
    """The toolset of one node."""

    id, prefix = "simulated", ""

    def __init__(self, loop: VirtualLoop, network: Network, service: SimService, node: Node | None) -> None:
        self._loop, self._network, self._service, self._node = loop, network, service, node

    async def tools(self) -> Mapping[str, ToolSpec]:
        return TOOLS

    async def call(self, call: Call) -> ToolOutcome:
        """Makes the call once. What became of it may not come back."""
        tag, chance = _tag(call), self._loop.random.random()

        def carry_out() -> ToolOutcome:
            if chance < 0.05:
                return ToolOutcome("retry", message="busy", retry_after=0.1)
            if chance < 0.1:
                return ToolOutcome("failed", message="there is no such thing")
            self._service.executions[tag] += 1
            if not call.tool.idempotent:
                self._service.effects[tag] += 1
            return ToolOutcome("ok", {"done": tag})

        if self._loop.random.random() < 0.02:
            raise Panic("out of bounds")
        try:
            return await self._network.ask(carry_out, node=self._node, server="service", timeout=_TIMEOUT)
        except LostAnswer:
            return ToolOutcome("unknown", message="no answer in time")

    async def reconcile(self, call: Call, since: datetime) -> ToolOutcome | None:
        """Looks whether the effect is there; that it is not says nothing, it may still come."""
        tag = _tag(call)
        if call.tool.name != "Send":
            return None
        try:
            found = await self._network.ask(
                lambda: self._service.effects[tag], node=self._node, server="service", timeout=_TIMEOUT
            )
        except LostAnswer:
            return None
        return ToolOutcome("ok", {"done": tag}) if found else None

    async def check(self) -> str:
        return "simulated"

    async def close(self) -> None:
        """Nothing is held."""


def _tag(call: Call) -> str:
    return f"t_{call.tenant_id}:u_{call.user_id}/{call.arguments['tag']}"
