"""`cauce work GROUP` that can be told to kill itself at a named point between reading a record and the end of its
transaction: the name goes into `ARM_FILE`, then SIGUSR1 arms it. Model calls are counted in `MODEL_CALLS`, a byte each.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from bench.worker import work
from processors.tools.processor import ToolsProcessor
from processors.turns.agent_leg import Agent
from processors.turns.hydration import Threads
from processors.turns.processor import TurnsProcessor
from state.cassandra.audit import CassandraAudit
from state.cassandra.journal import CassandraJournal
from state.cassandra.ledger import CassandraLedger
from state.sqlite.journal import SqliteJournal
from state.sqlite.ledger import SqliteLedger
from streams.group_runtime import GroupRuntime
from streams.kafka_clients import KafkaClients
from streams.slot import Slot

Place = tuple[type, str, bool]
"""Class, method, and whether the worker dies after it rather than before."""

POINTS: dict[str, dict[str, list[Place]]] = {
    "turns": {
        "record taken in": [(GroupRuntime, "_admit", True)],
        "thread hydrated": [(Threads, "hydrate", True)],
        "model asked": [(Agent, "leg", True)],
        "before the journal": [(CassandraJournal, "commit", False), (SqliteJournal, "commit", False)],
        "after the journal": [(CassandraJournal, "commit", True), (SqliteJournal, "commit", True)],
        "outputs made": [(TurnsProcessor, "process", True)],
        "requests sent": [(KafkaClients, "send", True)],
        "record finished": [(Slot, "finish", True)],
        "transaction begun": [(AIOKafkaProducer, "begin_transaction", True)],
        "offsets sent": [(AIOKafkaProducer, "send_offsets_to_transaction", True)],
        "before the commit": [(AIOKafkaProducer, "commit_transaction", False)],
        "after the commit": [(AIOKafkaProducer, "commit_transaction", True)],
    },
    "tools": {
        "call claimed": [(CassandraLedger, "claim", True), (SqliteLedger, "claim", True)],
        "call made": [(ToolsProcessor, "_settle", False)],
        "result stored": [(CassandraLedger, "finish", True), (SqliteLedger, "finish", True)],
        "result sent": [(KafkaClients, "send", True)],
        "tool offsets committed": [(AIOKafkaProducer, "commit_transaction", True)],
    },
    "audit": {"audit row stored": [(CassandraAudit, "append", True)]},
}

_armed: str | None = None


def install(points: dict[str, list[Place]]) -> None:
    """Puts a look at `_armed` around every place."""
    for name, places in points.items():
        for owner, method, after in places:
            setattr(owner, method, _watched(getattr(owner, method), name, after))


def _watched(real: Callable[..., Any], name: str, after: bool) -> Callable[..., Any]:
    def pass_by() -> None:
        if _armed == name:
            os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(real):

        @functools.wraps(real)
        async def watched(*args: Any, **kwargs: Any) -> Any:
            if not after:
                pass_by()
            result = await real(*args, **kwargs)
            if after:
                pass_by()
            return result

    else:

        @functools.wraps(real)
        def watched(*args: Any, **kwargs: Any) -> Any:
            if not after:
                pass_by()
            result = real(*args, **kwargs)
            if after:
                pass_by()
            return result

    return watched


def _count_model_calls(file: Path) -> None:
    real = Agent.leg
    counter = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @functools.wraps(real)
    async def leg(*args: Any, **kwargs: Any) -> Any:
        os.write(counter, b".")
        return await real(*args, **kwargs)

    Agent.leg = leg  # type: ignore[method-assign]


def main() -> None:
    """Runs a worker of the groups on the command line until it is told to stop, or to die."""
    groups = sys.argv[1:]
    install({name: places for group in groups for name, places in POINTS[group].items()})
    _count_model_calls(Path(os.environ.pop("MODEL_CALLS")))
    arm_file = Path(os.environ.pop("ARM_FILE"))

    def arm(*_: object) -> None:
        global _armed
        _armed = arm_file.read_text()

    signal.signal(signal.SIGUSR1, arm)
    work(groups)


if __name__ == "__main__":
    main()
