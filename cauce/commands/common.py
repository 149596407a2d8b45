"""Shared by all commands: options, output, and the settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cauce.plain_output import json_text, say, say_line

if TYPE_CHECKING:
    from pydantic import BaseModel

    from cauce.screen import Screen
    from cauce.settings import Settings
    from core.store_core import StoreCore

Result = TypeVar("Result")
Model = TypeVar("Model", bound="BaseModel")

DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder of the embedded system [default: var].")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Settings file [default: cauce.toml].")]
LangGraphOption = Annotated[Path | None, typer.Option("--langgraph", help="A langgraph.json whose graphs to host.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="Tenant to act for [default: home].")]
UserOption = Annotated[str | None, typer.Option("--user", help="User to act for [default: owner].")]
TenantArgument = Annotated[str, typer.Argument(help="Id of the tenant.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_of(data: Path | None = None, config: Path | None = None, **given: object) -> Settings:
    """The settings, with a command's options applied."""
    from cauce.settings import load_settings

    return load_settings(config, environment=None, data=data, **given)


def typed_id(what: str, given: str | None) -> None:
    """Raises `Invalid`, quoting what was typed, if it cannot be an id. None is accepted."""
    from core.refusals import known_id

    if given is not None:
        known_id(what, given)


def console(*, stderr: bool = False) -> Screen:
    """The terminal for human-readable output with styles."""
    from cauce.screen import Screen

    return Screen(stderr=stderr)


YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def confirmed(question: str, yes: bool) -> None:
    """Asks before something is destroyed, unless confirmed already. Ends the command where the answer is no."""
    if not yes:
        typer.confirm(question, abort=True)


def erased(settings: Settings, tenant_id: str, user_id: str | None, *, wait: bool) -> None:
    """Requests an erasure and shows how far it is. Raises `NotNow` where nobody does it."""
    import time

    from core.principal import OPERATOR
    from core.refusals import NotNow

    on_stores(settings, lambda core: core.erasures.request(OPERATOR, tenant_id, user_id))
    seen, changed = -1, time.monotonic()
    while wait:
        progress = on_stores(settings, lambda core: core.erasures.progress(OPERATOR, tenant_id, user_id))
        if progress.done:
            say_line("erased; traces without content go after 8 days")
            return
        if progress.threads != seen:
            say_line(f"{progress.threads} threads left")
            seen, changed = progress.threads, time.monotonic()
        if time.monotonic() - changed > STANDSTILL_SECONDS:
            detail = (
                "Nobody works on it. It continues as soon as a gateway and a worker run; repeat the command to see."
            )
            raise NotNow("not_erased", detail)
        time.sleep(1)
    say_line("requested; repeat the command to see how far it is")


STANDSTILL_SECONDS = 60.0
"""After which a command that shows progress gives up watching."""


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Prints JSON for programs."""
    say(json_text(value, indent=indent))


def print_models(
    found: Iterable[Model], line: Callable[[Model], str], *, as_json: bool, hidden: AbstractSet[str] = frozenset()
) -> None:
    """Prints a list as JSON for programs, without the fields `hidden`, or a line of each for people."""
    if as_json:
        print_json([one.model_dump(mode="json", exclude={*hidden}) for one in found])
        return
    for one in found:
        say_line(line(one))


def on_stores(settings: Settings, use: Callable[[StoreCore], Awaitable[Result]]) -> Result:
    """The result of a use case on the stores of the settings. Raises what the use case and `opened_stores` raise."""
    import asyncio

    from cauce.opened_stores import opened_core

    async def run() -> Result:
        async with opened_core(settings) as core:
            return await use(core)

    return asyncio.run(run())


@contextmanager
def fields_as_options(options: Mapping[str, str]) -> Iterator[None]:
    """Replaces field names by option names when a use case in the block reports invalid fields."""
    from core.refusals import Invalid

    try:
        yield
    except Invalid as error:
        if not (found := error.more.get("errors")):
            raise
        problems = [f"{options.get(one['field'], one['field'])}: {one['problem']}" for one in found]
        raise Invalid(error.code, "; ".join(problems), **error.more) from error
