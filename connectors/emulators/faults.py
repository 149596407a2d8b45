"""Faults on demand: failures between Cauce and a service, which tests switch on for a number of requests."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

FaultKind = Literal["status_before", "status_after", "cut_after", "slow"]
"""`status_before`: an error instead of the effect. `status_after`: an error after the effect (the response is lost).
`cut_after`: the connection breaks after the effect. `slow`: waits `seconds` first."""


class CutConnection(Exception):
    """Break the connection without a response."""


@dataclass
class Fault:
    """One switched-on fault for requests whose path or tool name contains `match`."""

    kind: FaultKind
    match: str = ""
    times: int = 1
    status: int = 503
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


class Faults:
    """The active faults."""

    def __init__(self) -> None:
        self._on: list[Fault] = []
        self._off = asyncio.Event()
        """Set for those that are slow by a fault which is off again."""

    def add(self, fault: Fault) -> None:
        """Switches a fault on."""
        self._on.append(fault)

    def clear(self) -> None:
        """Switches all faults off; slow requests continue immediately."""
        self._on.clear()
        self._off.set()
        self._off = asyncio.Event()

    def take(self, name: str, *kinds: FaultKind) -> Fault | None:
        """The first matching fault of these kinds, with its count decremented; None if there is none."""
        for fault in self._on:
            if fault.times > 0 and fault.kind in kinds and fault.match in name:
                fault.times -= 1
                return fault
        return None

    async def before(self, name: str) -> Fault | None:
        """Applies faults before the effect; returns the fault whose error to respond with."""
        if slow := self.take(name, "slow"):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._off.wait(), slow.seconds)
        return self.take(name, "status_before")

    def after(self, name: str) -> Fault | None:
        """Applies faults after the effect; returns the one whose error to respond with. Raises `CutConnection`."""
        fault = self.take(name, "status_after", "cut_after")
        if fault and fault.kind == "cut_after":
            raise CutConnection
        return fault

    @staticmethod
    def parse(body: dict[str, Any]) -> Fault:
        """A fault from a request's JSON body."""
        return Fault(**body)
