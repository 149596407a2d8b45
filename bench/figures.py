"""The results of a run, as numbers and as a table."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """One row. Times in seconds; `cpu_ms`: CPU milliseconds per turn, by process."""

    name: str
    clients: int
    turns: int
    per_second: float
    p50: float
    p99: float
    cpu_ms: Mapping[str, float] = field(default_factory=dict)
    unanswered: int = 0
    repeated: int = 0
    first_p50: float | None = None
    first_p99: float | None = None
    """Seconds to the first token, where it was measured."""


def figures(
    name: str,
    clients: int,
    seconds: float,
    latencies: Sequence[float],
    cpu_ms: Mapping[str, float] | None = None,
    *,
    unanswered: int = 0,
    repeated: int = 0,
    first_tokens: Sequence[float] = (),
) -> Figures:
    """Summarizes the latencies of a run that took `seconds`."""
    ordered, first = sorted(latencies), sorted(first_tokens)
    return Figures(
        name=name,
        clients=clients,
        turns=len(ordered),
        per_second=round(len(ordered) / seconds, 1),
        p50=round(quantile(ordered, 0.5), 3),
        p99=round(quantile(ordered, 0.99), 3),
        cpu_ms={k: round(v / max(1, len(ordered)), 2) for k, v in (cpu_ms or {}).items()},
        unanswered=unanswered,
        repeated=repeated,
        first_p50=round(quantile(first, 0.5), 3) if first else None,
        first_p99=round(quantile(first, 0.99), 3) if first else None,
    )


def quantile(ordered: Sequence[float], q: float) -> float:
    """The quantile `q` of a sorted sequence."""
    return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)] if ordered else float("nan")


def cpu_seconds(pid: int) -> float:
    """User and system CPU time of a process so far, in seconds (Linux, proc(5))."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measured(loop: Awaitable[T], pids: Mapping[str, Sequence[int]]) -> tuple[T, float, dict[str, float]]:
    """Runs a loop; returns its result, its duration in seconds, and the CPU milliseconds used by processes, by name."""
    before = {name: sum(map(cpu_seconds, ids)) for name, ids in pids.items()}
    started = time.perf_counter()
    found = await loop
    seconds = time.perf_counter() - started
    return found, seconds, {name: (sum(map(cpu_seconds, ids)) - before[name]) * 1000 for name, ids in pids.items()}


def compiler_seconds(pid: int) -> float:
    """The part of `cpu_seconds` used by a JVM's compilers; 0 for other processes."""
    used = 0.0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/stat") as file:
            head, _, rest = file.read().rpartition(")")
            if head.partition("(")[2].startswith(("C1 Compiler", "C2 Compiler")):
                fields = rest.split()
                used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def table(rows: Sequence[Figures]) -> str:
    """The rows as Markdown; ratios are relative to the first row with the same number of clients."""
    lines = [
        "| system | clients | turns/s | of in-process | p50 s | of in-process | p99 s | CPU ms a turn |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        base = next((r for r in rows if r.clients == row.clients), row)
        cpu = ", ".join(f"{name} {value:g}" for name, value in row.cpu_ms.items())
        problems = (
            f" **unanswered {row.unanswered}, repeated {row.repeated}**" if row.unanswered or row.repeated else ""
        )
        lines.append(
            f"| {row.name}{problems} | {row.clients} | {row.per_second:g} | {row.per_second / base.per_second:.2f} "
            f"| {row.p50:.3f} | {row.p50 / base.p50:.2f} | {row.p99:.3f} | {cpu} |"
        )
    return "\n".join(lines)
