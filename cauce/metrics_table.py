"""The table of metrics in docs/operations.md, generated from their definitions."""

from __future__ import annotations

from schemas import SettingsError
from schemas.common.metrics import all_metrics

_BEGIN = "<!-- This table is written by: cauce metrics --out docs/operations.md -->\n"
_END = "<!-- The end of the table. -->\n"


def table() -> str:
    """The table, as Markdown."""
    rows = ["| metric | of | kind | labels | |", "|---|---|---|---|---|"]
    for whose, metrics in all_metrics().items():
        for one in metrics:
            labels = ", ".join(f"`{label}`" for label in one.labels)
            rows.append(f"| `{one.shown_name}` | {whose} | {one.kind.__name__.lower()} | {labels} | {one.about} |")
    return "\n".join(rows) + "\n"


def put_into(page: str) -> str:
    """The page with its table replaced by the current one. Raises `SettingsError` if the page has no markers for it."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise SettingsError(f"the page has no markers for the table: the lines {_BEGIN.strip()} and {_END.strip()}")
    return "".join((before, begin, "\n", table(), "\n", end, after))
