"""How each toolset is reached in tests: Arcade at the emulated engine, the others at servers of their own.

A new toolset gets a line in `WRITING`, or in `READING` if none of its tools changes anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulated import emulators
from pydantic import SecretStr
from small_server import Notes, SmallServer, Weather

from connectors.arcade import ArcadeSettings
from connectors.connector import connectors
from connectors.toolset import Toolset
from schemas.common.section import Section


async def _no_effects(text: str) -> int:
    return 0


@dataclass(frozen=True)
class Reached:
    """A toolset whose service runs, and what the suite needs to know of that."""

    make: Callable[[Section], Toolset | None]
    settings: Section
    wrong_settings: Section
    """With them the service refuses, or is not there."""
    reading: tuple[str, dict[str, Any]]
    """A tool that only reads, and arguments."""
    lose_answer: Callable[[], Awaitable[None]]
    """The next call of the writing tool is carried out, and its answer lost; of the reading one, if none writes."""
    busy: Callable[[], Awaitable[None]]
    """The next call of the same tool is refused, since there are too many."""
    writing: Callable[[str], tuple[str, dict[str, Any]]] | None = None
    """A tool that must not be repeated, with arguments whose effect has this text; None if all only read."""
    effects: Callable[[str], Awaitable[int]] = _no_effects
    """How many effects with this text the service has accepted."""

    def calling(self, text: str) -> tuple[str, dict[str, Any]]:
        """The tool whose answers can be lost, with arguments."""
        return self.writing(text) if self.writing else self.reading


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


def notes(folder: Path) -> AbstractAsyncContextManager[Reached]:
    server = Notes()
    return _at_small_server(
        "notes",
        server,
        reading=("notes_Find", {"text": "x"}),
        writing=lambda text: ("notes_Add", {"text": text}),
        effects=lambda text: _count(server.find(text=text)),
    )


def weather(folder: Path) -> AbstractAsyncContextManager[Reached]:
    return _at_small_server("weather", Weather(), reading=("weather_Now", {"place": "Vigo"}))


@asynccontextmanager
async def _at_small_server(name: str, server: SmallServer, **about: Any) -> AsyncIterator[Reached]:
    settings = next(one for one in connectors() if one.name == name).settings
    async with server.listening() as address:
        yield Reached(
            make=_maker(name),
            settings=settings(url=address),  # type: ignore[call-arg]
            wrong_settings=settings(url="http://127.0.0.1:1"),  # type: ignore[call-arg]
            lose_answer=server.lose_answer,
            busy=server.be_busy,
            **about,
        )


Way = Callable[[Path], AbstractAsyncContextManager[Reached]]
WRITING: dict[str, Way] = {"arcade": arcade, "notes": notes}
READING: dict[str, Way] = {"weather": weather}
REACHED = WRITING | READING
"""By connector."""

WEATHER = {
    "weather/__init__.py": '''
"""A service whose only tool reads."""

from connectors.connector import Connector
from schemas.common.section import HttpUrl, Section


class WeatherSettings(Section):
    """The weather."""

    url: HttpUrl = None


def _toolset(settings):
    from connectors.weather.weather_tools import WeatherTools

    return WeatherTools(settings.url) if settings.url else None


CONNECTOR = Connector(name="weather", settings=WeatherSettings, toolset=_toolset, unset="set CAUCE_WEATHER_URL")
''',
    "weather/weather_tools.py": '''
"""The weather of a place."""

import httpx

from connectors.toolset import ToolOutcome, ToolSpec
from schemas import Unavailable

_PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOLS = {
    "weather_Now": ToolSpec(name="weather_Now", description="The weather now.", parameters=_PLACE, read_only=True)
}


class WeatherTools:
    id, prefix = "weather", "weather_"

    def __init__(self, url):
        self._http = httpx.AsyncClient(base_url=url, timeout=30)

    async def tools(self):
        return TOOLS

    async def call(self, call):
        try:
            answer = await self._http.get("/now", params=dict(call.arguments))
        except httpx.ConnectError:
            return ToolOutcome("retry", message="the weather does not answer")
        except httpx.HTTPError:
            return ToolOutcome("unknown", message="the response was lost")
        if answer.is_success:
            return ToolOutcome("ok", answer.json())
        if answer.status_code == 429:
            return ToolOutcome("retry", message="the weather is busy")
        return ToolOutcome("tell_model", message=answer.text)

    async def reconcile(self, call, since):
        return None

    async def check(self):
        try:
            await self._http.get("/now", params={"place": "Vigo"})
        except httpx.HTTPError as error:
            raise Unavailable(f"the weather at {self._http.base_url} does not answer: {error}") from error
        return "the weather answers"

    async def close(self):
        await self._http.aclose()
''',
}
"""The files of a connector that only reads, by their paths in `connectors/`."""


def _maker(name: str) -> Callable[[Section], Toolset | None]:
    made = next(one for one in connectors() if one.name == name).toolset
    assert made
    return made


async def _count(found: Awaitable[list[Any]]) -> int:
    return len(await found)
