"""The closed loop over HTTP, as chat clients of the LangGraph API run it, compared with the same loop directly over Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench import in_process
from bench.figures import Figures, figures, measured
from bench.http_client import Connection
from bench.load import PATIENCE, Load, warm_up
from bench.systems import TENANTS, System, Workers
from schemas import new_id

CLIENTS = 32
ROUNDS = 3
"""Rounds; each measures every path once, so that other load on the machine affects all of them."""


@dataclass
class Streamed:
    """A streamed run; times in seconds of `time.perf_counter`, 0 for what has not arrived."""

    sent: float = field(default_factory=time.perf_counter)
    first_token: float = 0.0
    ended: float = 0.0
    answers: int = 0
    failed: bool = False

    def hear(self, frame: bytes) -> None:
        """Handles a frame of the stream."""
        kind, _, data = frame.partition(b"\n")
        if kind == b"event: messages" and not self.first_token:
            chunk, _ = json.loads(data.removeprefix(b"data: "))
            if chunk["type"] == "AIMessageChunk" and chunk["content"]:
                self.first_token = time.perf_counter()
        elif kind == b"event: updates":
            self.answers += b'"done ' in data
        elif kind == b"event: error":
            self.failed = True
        elif kind == b"event: end":
            self.ended = time.perf_counter()


class HttpLoad:
    """Clients of a gateway, each with its own connection. `keys` are the users' keys, one per tenant."""

    def __init__(self, url: str, keys: Sequence[str]) -> None:
        self._url, self._keys = url, keys

    async def closed_loop(self, clients: int, turns: int, *, asks: int = 6) -> list[Streamed]:
        """Runs `turns` turns, `asks` per thread; returns those whose streams ended."""
        left, answered = turns, list[Streamed]()

        async def client(number: int) -> None:
            nonlocal left
            connection = await Connection.open(self._url, self._keys[number % len(self._keys)])
            thread, asked = new_id("t"), 0
            with contextlib.suppress(TimeoutError, ConnectionError), contextlib.closing(connection):
                while left > 0:
                    left -= 1
                    asked += 1
                    if asked % asks == 0:
                        thread = new_id("t")
                    async with asyncio.timeout(PATIENCE):
                        run = await _stream(connection, thread)
                    if run.ended and run.answers and not run.failed:
                        answered.append(run)

        await asyncio.gather(*(client(n) for n in range(clients)))
        return answered

    async def measure(self, name: str, clients: int, turns: int, pids: Mapping[str, Sequence[int]]) -> Figures:
        """Measures a closed loop as one row, like `Load.measure`."""
        answered, seconds, used = await measured(self.closed_loop(clients, turns), pids)
        return figures(
            name,
            clients,
            seconds,
            [run.ended - run.sent for run in answered],
            used,
            unanswered=turns - len(answered),
            repeated=sum(run.answers - 1 for run in answered),
            first_tokens=[run.first_token - run.sent for run in answered if run.first_token],
        )


async def _stream(connection: Connection, thread: str) -> Streamed:
    """Sends one message and follows its run to the end, as `useStream` does. Raises ConnectionError if it is not accepted."""
    body = {
        "assistant_id": "agent",
        "input": {"messages": [{"role": "user", "content": "hi"}]},
        "stream_mode": ["messages-tuple", "updates"],
        "if_not_exists": "create",
    }
    run = Streamed()
    status = await connection.send("POST", f"/lg/threads/{thread}/runs/stream", body, run.hear)
    if status != 200:
        raise ConnectionError(f"the gateway answered {status}")
    await connection.over()
    return run


async def run(system: System, turns: int) -> list[Figures]:
    """Bare LangGraph, the loop over Kafka and the loop over HTTP on one system: medians of several rounds."""
    rounds: list[list[Figures]] = []
    keys = await system.keys({tenant: ["u"] for tenant in TENANTS})
    async with system.workers() as workers:
        async with Load(system.bootstrap) as load:
            await warm_up(load, list(system.servers.values()))
        for number in range(ROUNDS):
            bare = await in_process.run(CLIENTS, turns)
            rounds.append([bare, *await both(system, workers, keys, turns)])
            rates = ", ".join(f"{row.name} {row.per_second:g}" for row in rounds[-1])
            print(f"  round {number + 1}, turns/s: {rates}", flush=True)
    return [median(rows) for rows in zip(*rounds, strict=True)]


async def both(system: System, workers: Workers, keys: Sequence[str], turns: int) -> tuple[Figures, Figures]:
    """The loop over Kafka, then over a gateway that runs only for it."""
    async with Load(system.bootstrap) as load:
        straight = await load.measure(f"{system.name}, no HTTP", CLIENTS, turns, workers.pids)
    async with system.gateway() as gateway:
        http = HttpLoad(gateway.url, keys)
        await http.closed_loop(CLIENTS, 2 * CLIENTS)
        pids = {**workers.pids, "gateway": [gateway.pid], "load": [os.getpid()]}
        return straight, await http.measure(f"{system.name}, HTTP", CLIENTS, turns, pids)


def median(rows: Sequence[Figures]) -> Figures:
    """Combines several rows of one kind: the median of each number, and the sum of all failures."""

    def of(name: str) -> float:
        return round(float(statistics.median(getattr(row, name) for row in rows)), 3)

    cpu = {k: round(statistics.median(row.cpu_ms[k] for row in rows), 2) for k in rows[0].cpu_ms}
    first = all(row.first_p50 is not None for row in rows)
    return replace(
        rows[0],
        per_second=of("per_second"),
        p50=of("p50"),
        p99=of("p99"),
        cpu_ms=cpu,
        unanswered=sum(row.unanswered for row in rows),
        repeated=sum(row.repeated for row in rows),
        first_p50=of("first_p50") if first else None,
        first_p99=of("first_p99") if first else None,
    )


def table(rows: Sequence[Figures]) -> str:
    """The rows as Markdown, in groups of three: bare LangGraph, the loop without and with HTTP."""
    lines = [
        "| | turns/s | of in-process | of no HTTP | first token p50 s | p99 s | end p50 s | of no HTTP | p99 s | CPU ms a turn |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for n, row in enumerate(rows):
        bare, straight = rows[n - n % 3], rows[n - n % 3 + 1]
        cpu = ", ".join(f"{name} {value:g}" for name, value in row.cpu_ms.items())
        first = f"{row.first_p50:.3f} | {row.first_p99:.3f}" if row.first_p50 else "|"
        wrong = f" **unanswered {row.unanswered}, repeated {row.repeated}**" if row.unanswered or row.repeated else ""
        beside = n % 3 == 2
        lines.append(
            f"| {row.name}{wrong} | {row.per_second:g} | {row.per_second / bare.per_second:.2f} "
            f"| {f'{row.per_second / straight.per_second:.2f}' if beside else ''} | {first} "
            f"| {row.p50:.3f} | {f'{row.p50 / straight.p50:.2f}' if beside else ''} | {row.p99:.3f} | {cpu} |"
        )
    return "\n".join(lines)
