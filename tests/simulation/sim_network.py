"""The way between nodes and servers: delays, requests that get lost, answers that get lost, answers that come too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sim_loop import Node, VirtualLoop

Result = TypeVar("Result")


class LostAnswer(Exception):
    """No answer came in time. Whether the request was carried out, or will be, nobody told."""


@dataclass(frozen=True)
class Weather:
    """How bad it is. Probabilities of one request, times in seconds."""

    slow: float = 0.02
    slow_seconds: float = 2.0
    lost_requests: float = 0.01
    lost_answers: float = 0.02
    late_requests: float = 0.01
    """Carried out only after their sender has given up."""

    refused_records: float = 0.002
    """Records of a transaction that the broker will never take; aiokafka tells it by their acknowledgements only."""
    forgotten_acknowledgements: float = 0.002
    """Of records that a producer was given: it is sent, and nobody is ever told."""
    typical: float = 0.002
    odd_records: float = 0.05
    """Records of people that cannot be read for a while: broken on the way to the reader, or compressed with what it lacks."""
    failed_polls: float = 0.005
    """Of each partition of a poll: the client takes its records and then fails."""
    deaf_polls: float = 0.001
    """Of each partition of a poll: the client fetches it no more, and does not say so."""


FINE = Weather(
    slow=0,
    lost_requests=0,
    lost_answers=0,
    late_requests=0,
    refused_records=0,
    forgotten_acknowledgements=0,
    odd_records=0,
    failed_polls=0,
    deaf_polls=0,
)


class Network:
    """`weather` may change at any time."""

    def __init__(self, loop: VirtualLoop, weather: Weather) -> None:
        self._loop, self._random = loop, loop.random
        self.weather = weather
        self.cut: set[tuple[Node | None, str]] = set()
        """Nodes that cannot reach a server."""

    def delay(self) -> float:
        """One way."""
        w = self.weather
        if w.slow and self._random.random() < w.slow:
            return self._random.random() * w.slow_seconds
        return self._random.expovariate(1 / w.typical)

    def refuses_a_record(self) -> bool:
        """Whether the broker refuses this one."""
        return self._random.random() < self.weather.refused_records

    def forgets_an_acknowledgement(self) -> bool:
        """Whether nobody is told what becomes of this record."""
        return self._random.random() < self.weather.forgotten_acknowledgements

    async def ask(
        self,
        carry_out: Callable[[], Result],
        *,
        node: Node | None,
        server: str,
        timeout: float,
        late: bool = True,
    ) -> Result:
        """Has a server carry something out, at one moment, and returns what that returned or raised.

        Raises `LostAnswer` after `timeout`. `late`: the request may be carried out long after that.
        """
        answer: asyncio.Future[Result] = self._loop.create_future()
        there, back = self.delay(), self.delay()
        w, chance = self.weather, self._random.random()
        lost = lost_answer = False
        if chance < w.lost_requests:
            lost = True
        elif chance < w.lost_requests + w.lost_answers:
            lost_answer = True
        elif chance < w.lost_requests + w.lost_answers + w.late_requests:
            there, lost, lost_answer = timeout + self._random.random() * 5, not late, True

        # Errors like a reset connection come at once, time-outs late.
        began = self._loop.now
        patience = timeout if self._random.random() < 0.5 else min(timeout, there + back + 0.01)

        def at_server() -> None:
            if (node, server) in self.cut:
                self._loop.world(max(0.0, began + timeout - self._loop.now), settle, None, LostAnswer())
                return
            try:
                result, error = carry_out(), None
            except Exception as raised:
                result, error = None, raised
            if not lost_answer:
                self._loop.world(back, settle, result, error)

        def settle(result: Any, error: Exception | None) -> None:
            if answer.done():
                return
            if error:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        if not lost:
            self._loop.world(there, at_server)
        if lost or lost_answer:
            self._loop.world(patience, settle, None, LostAnswer())
        return await answer
