"""The terminal with styles: the one place that has a Rich console (`cauce.plain_output` prints without styles).

Nothing that is printed here is read as markup, and whatever acts on a terminal or hides in it is written out (`foreign`), whoever
wrote it. Styles are given beside a text, never inside of it: `styled("thread ", (thread_id, "bold"))`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cauce.foreign_text import foreign, foreign_line

Part = str | tuple[str, str]
"""A text, or a text and its style as Rich writes it, such as `bold red`."""


class Screen(Console):
    """A Rich console that obeys nothing of what it prints."""

    def __init__(self, *, stderr: bool = False, **more: Any) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False, **more)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is shown: the last place before the terminal, so it holds for every kind of renderable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(foreign(segment.text), segment.style)


class Listing(Table):
    """Rows under a header. A cell is one line: a line end in it cannot look like another row."""

    def __init__(self, *headers: str) -> None:
        super().__init__(*headers, box=None, header_style="bold")

    def add_row(self, *cells: RenderableType | None, style: Any = None, end_section: bool = False) -> None:
        """See Rich's; texts become lines."""
        lines = (foreign_line(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*lines, style=style, end_section=end_section)


def styled(*parts: Part) -> Text:
    """A running text with styles. Line ends stay."""
    return Text.assemble(*(foreign(p) if isinstance(p, str) else (foreign(p[0]), p[1]) for p in parts))


def stacked(lines: Iterable[Text]) -> Text:
    """One text of several lines."""
    return Text("\n").join(lines)


def one_line(*parts: Part) -> Text:
    """The same on one line, such as for an id, a title or a reason."""
    return Text.assemble(*(foreign_line(p) if isinstance(p, str) else (foreign_line(p[0]), p[1]) for p in parts))
