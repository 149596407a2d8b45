"""How each toolset is reached in tests: Arcade at the emulated engine, the example of docs/extending.md at a server of its own.

A new toolset gets a line in `REACHED`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulated import emulators
from pydantic import SecretStr
from small_server import Notes

from connectors.arcade import ArcadeSettings
from connectors.connector import connectors
from connectors.toolset import Toolset
from schemas.common.section import Section


@dataclass(frozen=True)
class Reached:
    """A toolset whose service runs, and what the suite needs to know of that."""

    make: Callable[[Section], Toolset | None]
    settings: Section
    wrong_settings: Section
    """With them the service refuses, or is not there."""
    reading: tuple[str, dict[str, Any]]
    """A tool that only reads, and arguments."""
    writing: Callable[[str], tuple[str, dict[str, Any]]]
    """A tool that must not be repeated, with arguments whose effect has this text."""
    effects: Callable[[str], Awaitable[int]]
    """How many effects with this text the service has accepted."""
    lose_answer: Callable[[], Awaitable[None]]
    """The next call of the writing tool is carried out, and its answer lost."""
    busy: Callable[[], Awaitable[None]]
    """The next call of the writing tool is refused, since there are too many."""


@asynccontextmanager
async def arcade(folder: Path) -> AsyncIterator[Reached]:
    async with emulators(folder) as emulated:
        yield Reached(
            make=_maker("arcade"),
            settings=ArcadeSettings(url=emulated.base_url, api_key=SecretStr(emulated.api_key)),
            wrong_settings=ArcadeSettings(url=emulated.base_url, api_key=SecretStr("wrong")),
            reading=("Gmail_ListEmails", {}),
            writing=lambda text: (
                "Gmail_SendEmail",
                {"subject": text, "body": "Hello", "recipient": "ana@correo.example"},
            ),
            effects=lambda text: _count(emulated.effects(text)),
            lose_answer=lambda: emulated.fault("cut_after", match="Gmail.SendEmail"),
            busy=lambda: emulated.fault("status_before", match="Gmail.SendEmail", status=429),
        )


@asynccontextmanager
async def notes(folder: Path) -> AsyncIterator[Reached]:
    server, settings = Notes(), next(one for one in connectors() if one.name == "notes").settings
    async with server.listening() as address:
        yield Reached(
            make=_maker("notes"),
            settings=settings(url=address),  # type: ignore[call-arg]
            wrong_settings=settings(url="http://127.0.0.1:1"),  # type: ignore[call-arg]
            reading=("notes_Find", {"text": "x"}),
            writing=lambda text: ("notes_Add", {"text": text}),
            effects=lambda text: _count(server.find(text=text)),
            lose_answer=server.lose_answer,
            busy=server.be_busy,
        )


REACHED: dict[str, Callable[[Path], AbstractAsyncContextManager[Reached]]] = {"arcade": arcade, "notes": notes}
"""By connector."""


def _maker(name: str) -> Callable[[Section], Toolset | None]:
    made = next(one for one in connectors() if one.name == name).toolset
    assert made
    return made


async def _count(found: Awaitable[list[Any]]) -> int:
    return len(await found)
