"""Where the time of a turn goes: means by stage, from the workers' metrics and the load generator's clock, as text and SVG."""

from __future__ import annotations

import asyncio
import html
import re
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.in_process import MODEL_SECONDS, TOOL_SECONDS
from bench.load import Asked
from bench.systems import Workers

_SAMPLE = re.compile(r'^(cauce_\w+_seconds)_(sum|count)\{(?:group|stage)="(\w+)"\} (\S+)$', re.M)
COLOURS = ("#7aa6c2", "#c9d7e0", "#e3c27a", "#8fbf8f", "#d98f6c", "#b39bc8", "#c2858f", "#9a9a9a")


async def scrape(workers: Workers) -> dict[tuple[str, str, str], float]:
    """Sums and counts of the histograms of all workers."""

    def read(url: str) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    found: dict[tuple[str, str, str], float] = {}
    for url in (u for urls in workers.health.values() for u in urls):
        for name, part, label, value in _SAMPLE.findall(await asyncio.to_thread(read, url)):
            found[name, part, label] = found.get((name, part, label), 0.0) + float(value)
    return found


@dataclass(frozen=True)
class Stages:
    """Milliseconds by stage of a whole turn: two records of the turns group and one of the tools group. The time of the
    fake model and of the tool itself is left out."""

    title: str
    parts: Mapping[str, float]

    def line(self) -> str:
        """The stages as one row of a table."""
        return f"| {self.title} | " + " | ".join(f"{ms:.1f}" for ms in self.parts.values()) + " |"


def stages(
    title: str,
    before: Mapping[tuple[str, str, str], float],
    after: Mapping[tuple[str, str, str], float],
    asked: Sequence[Asked],
) -> Stages:
    """The stages of the turns between two scrapes."""
    turns = len(asked)

    def total(name: str, label: str) -> float:
        key = f"cauce_{name}_seconds", "sum", label
        return (after.get(key, 0.0) - before.get(key, 0.0)) * 1000 / turns

    model, hydrate, commit = (total("turn_stage", s) for s in ("model", "hydrate", "commit"))
    # Age at the end minus the worker's own time: from the producer's timestamp until intake.
    to_turns = total("record_age", "turns") - total("lane_wait", "turns") - total("process", "turns")
    to_tools = total("record_age", "tools") - total("lane_wait", "tools") - total("process", "tools")
    given_model, given_tool = 2 * MODEL_SECONDS * 1000, TOOL_SECONDS * 1000
    parts = {
        "produce": _mean(a.acknowledged - a.sent for a in asked) * 1000,
        "fetch by workers": to_turns + to_tools,
        "wait in lane": total("lane_wait", "turns") + total("lane_wait", "tools"),
        "hydrate": hydrate,
        "graph": model - given_model,
        "commit": commit,
        "ledger and HTTP": total("process", "tools") - given_tool,
        "other in turns": total("process", "turns") - model - hydrate - commit,
        "publish and fetch by client": _mean(a.fetched_after for a in asked) * 1000,
    }
    return Stages(title, {name: max(0.0, ms) for name, ms in parts.items()})


def table(rows: Sequence[Stages]) -> str:
    """Rows as Markdown."""
    names = list(rows[0].parts)
    return "\n".join(
        ["| ms a turn | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|", *(r.line() for r in rows)]
    )


def picture(rows: Sequence[Stages], file: Path) -> None:
    """Stacked bars as SVG."""
    names = list(rows[0].parts)
    wide, bar, left = 1100, 34, 210
    scale = (wide - left - 70) / max(sum(r.parts.values()) for r in rows)
    high = 50 + len(rows) * (bar + 14) + 18 * ((len(names) + 2) // 3) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="22" font-size="14">Mean time of a turn by stage, ms; '
        "without the 400 ms of the model and the 50 ms of the tool</text>",
    ]
    colours = dict(zip(names, (*COLOURS, "#555"), strict=False))
    for n, row in enumerate(rows):
        y, x = 38 + n * (bar + 14), float(left)
        out.append(f'<text x="10" y="{y + bar / 2 + 4}">{html.escape(row.title)}</text>')
        for name, ms in row.parts.items():
            out.append(
                f'<rect x="{x:.1f}" y="{y}" width="{ms * scale:.1f}" height="{bar}" fill="{colours[name]}">'
                f"<title>{html.escape(name)}: {ms:.1f} ms</title></rect>"
            )
            if ms * scale > 34:
                out.append(
                    f'<text x="{x + ms * scale / 2:.1f}" y="{y + bar / 2 + 4}" text-anchor="middle">{ms:.0f}</text>'
                )
            x += ms * scale
        out.append(f'<text x="{x + 6:.1f}" y="{y + bar / 2 + 4}">{sum(row.parts.values()):.0f}</text>')
    for n, name in enumerate(names):
        x, y = 10 + (n % 3) * 300, 50 + len(rows) * (bar + 14) + 18 * (n // 3)
        out.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colours[name]}"/>')
        out.append(f'<text x="{x + 18}" y="{y + 11}">{html.escape(name)}</text>')
    file.write_text("\n".join([*out, "</svg>\n"]))


def _mean(values: object) -> float:
    found = list(values)  # type: ignore[call-overload]
    return sum(found) / max(1, len(found))
