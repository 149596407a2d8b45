"""What a chaos run came to: a text, a picture, and whether the promises held."""

from __future__ import annotations

import html
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from chaos_faults import BOUND, Fault
from chaos_load import Book
from chaos_vandal import Vandal


@dataclass
class Report:
    """`effects` are executions of the tool by the text of the run that asked."""

    seed: int
    book: Book
    faults: list[Fault]
    effects: dict[str, int]
    model_calls: int | None
    """None where nobody counts them."""
    vandal: Vandal
    bound: float = BOUND
    """The longest recovery that is good, in seconds."""

    @property
    def lost(self) -> list[str]:
        """Accepted and never ended."""
        return [run for run in self.book.accepted if run not in self.book.ended]

    @property
    def doubled(self) -> list[str]:
        """Ended more than once."""
        return [run for run, count in self.book.ends.items() if count > 1]

    @property
    def repeated(self) -> list[str]:
        """Runs whose side effect happened more than once."""
        return [run for run, count in self.effects.items() if count > 1]

    @property
    def slow(self) -> list[Fault]:
        """Faults that took too long to recover from."""
        return [fault for fault in self.faults if fault.recovered is None or fault.recovered > self.bound]

    @property
    def good(self) -> bool:
        """Whether everything held."""
        broken = self.lost or self.doubled or self.repeated or self.book.disorder or self.vandal.wrong
        return not (broken or self.slow)

    def text(self) -> str:
        """For people."""
        book = self.book
        lines = [
            f"seed {self.seed}: {len(self.faults)} faults in {book.samples[-1][0] - book.samples[0][0]:.0f} s",
            f"inputs accepted {len(book.accepted)}, answered {len(book.ended)} ({dict(book.kinds)})",
            f"lost {len(self.lost)}, doubled {len(self.doubled)}, side effects {sum(self.effects.values())}, "
            f"repeated {len(self.repeated)}, events out of order or twice {len(book.disorder)}",
            f"what the model was told about tools: {dict(book.tools)}",
        ]
        if self.model_calls is not None:
            again = self.model_calls - 2 * len(book.ended)
            lines.append(f"model calls {self.model_calls}, of which {again} were made again")
        lines.append(
            f"odd things written: {dict(self.vandal.did)}; {len(self.vandal.taken)} of them had to become dead letters, "
            f"wrong {len(self.vandal.wrong)}"
        )
        lines += [
            "",
            "| fault | times | longest recovery, s |",
            "|---|---|---|",
        ]
        kinds: dict[str, list[Fault]] = defaultdict(list)
        for fault in self.faults:
            kinds[fault.kind].append(fault)
        for kind, faults in kinds.items():
            times = [f.recovered for f in faults]
            longest = "not recovered" if None in times else f"{max(t for t in times if t is not None):.1f}"
            lines.append(f"| {kind} | {len(faults)} | {longest} |")
        lines += [
            f"broken: {what}"
            for found in (self.lost, self.doubled, self.repeated, book.disorder, self.vandal.wrong)
            for what in found[:5]
        ]
        return "\n".join(lines)

    def picture(self, file: Path) -> None:
        """The time line as SVG: answers a second above, age of the oldest unanswered input below, faults across."""
        start, end = self.book.samples[0][0], self.book.samples[-1][0]
        wide, high, left = 1100, 150, 60
        scale = (wide - left - 10) / max(1.0, end - start)
        rates = [
            (at, done - before)
            for (_, before, _), (at, done, _) in zip(self.book.samples, self.book.samples[1:], strict=False)
        ]
        ages = [(at, age) for at, _, age in self.book.samples]
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{2 * high + 190}" '
            'font-family="sans-serif" font-size="11">',
            '<rect width="100%" height="100%" fill="white"/>',
        ]
        for n, fault in enumerate(self.faults):
            x, width = left + (fault.began - start) * scale, max(2.0, (fault.over - fault.began) * scale)
            parts.append(
                f'<rect x="{x:.1f}" y="20" width="{width:.1f}" height="{2 * high + 30}" fill="#f4b6b6" opacity=".6"/>'
            )
            y = 2 * high + 65 + 12 * (n % 9)
            parts.append(f'<text x="{x:.1f}" y="{y}" fill="#933">{html.escape(fault.kind)}</text>')
        for title, points, top, colour in (
            ("answers a second", rates, 20, "#2a6"),
            ("oldest unanswered input, s", ages, high + 50, "#26a"),
        ):
            most = max((value for _, value in points), default=1) or 1
            line = " ".join(
                f"{left + (at - start) * scale:.1f},{top + high - value / most * high:.1f}" for at, value in points
            )
            parts += [
                f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.3"/>',
                f'<line x1="{left}" y1="{top + high}" x2="{wide - 10}" y2="{top + high}" stroke="#999"/>',
                f'<text x="{left}" y="{top - 5}" fill="{colour}">{title}</text>',
                f'<text x="5" y="{top + 10}">{most:.0f}</text><text x="5" y="{top + high}">0</text>',
            ]
        minutes = range(0, int(end - start) + 1, 60)
        parts += [
            f'<text x="{left + second * scale:.0f}" y="{2 * high + 190 - 6}">{second // 60} min</text>'
            for second in minutes
        ]
        file.write_text("\n".join([*parts, "</svg>\n"]))
