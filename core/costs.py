"""What an operation costs beside the request that asks for it. The operation itself spends it, where it begins (`spend`), so
that it costs the same over every protocol and every path; whoever serves the request pays (`paying`).

Outside of a request (timers, commands of the operator) nothing costs anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol

Operation = Literal["run", "answer", "state", "copy", "stream"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Units of the two budgets of a user."""

    requests: int = 0
    runs: int = 0

    def __mul__(self, times: int) -> Cost:
        """So many of it."""
        return Cost(self.requests * times, self.runs * times)


COSTS: dict[Operation, Cost] = {
    "run": Cost(runs=1),
    "answer": Cost(runs=1),  # the run continues: the model is called again
    "state": Cost(runs=1),
    "copy": Cost(requests=10, runs=5),  # up to 2,000 messages and 4 MB are read and written
    "stream": Cost(requests=1),  # the thread is read, and what it has missed
}
"""A `stream` is one that is opened by itself; that of a run is opened with it."""


class Payer(Protocol):
    """Who pays for what a request does."""

    async def pay(self, cost: Cost) -> None:
        """Takes all of the cost from the budgets, or nothing. Raises `Refused`."""

    async def give_back(self, cost: Cost) -> None:
        """Puts back what was paid for what was not done."""


@dataclass(slots=True)
class _Ahead:
    left: int


_payer: ContextVar[Payer | None] = ContextVar("payer", default=None)
_ahead: ContextVar[_Ahead | None] = ContextVar("paid_ahead", default=None)


@contextmanager
def paying(payer: Payer) -> Iterator[None]:
    """What is done within is paid by it."""
    token = _payer.set(payer)
    try:
        yield
    finally:
        _payer.reset(token)


async def spend(operation: Operation) -> None:
    """Pays for an operation that begins. Raises `Refused` where the budget does not have it; nothing was done then."""
    cost, ahead, payer = COSTS[operation], _ahead.get(), _payer.get()
    if ahead and ahead.left and cost == COSTS["run"]:
        ahead.left -= 1
    elif payer:
        await payer.pay(cost)


@asynccontextmanager
async def runs_ahead(count: int = 1) -> AsyncIterator[None]:
    """Pays for runs, or answers, before what comes before them is done, such as a thread for each: all of them or none. What
    is not started within is returned. Raises `Refused`."""
    payer = _payer.get()
    if payer is None or _ahead.get() is not None:
        yield
        return
    await payer.pay(COSTS["run"] * count)
    ahead = _Ahead(count)
    token = _ahead.set(ahead)
    try:
        yield
    finally:
        _ahead.reset(token)
        if ahead.left:
            await payer.give_back(COSTS["run"] * ahead.left)
