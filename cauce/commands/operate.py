"""`cauce topics` and `cauce state`: what a cluster needs before workers run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from cauce.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    console,
    print_json,
    settings_of,
)
from cauce.commands.families import Family
from cauce.exit_codes import Exit
from cauce.opened_stores import opened_stores
from cauce.plain_output import say_line
from schemas import SettingsError

topics = typer.Typer(no_args_is_help=True, help="Create topics, and compare them with the registry.")
state = typer.Typer(no_args_is_help=True, help="Create tables, and show which are missing.")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(topics, name="topics")
    app.add_typer(state, name="state")


FAMILY = Family(register, rank=40)


@topics.command()
def apply(data: DataOption = None, config: ConfigOption = None) -> None:
    """Create the topics that are missing and set their retention; safe to repeat.

    Partitions and replication come from the settings (CAUCE_PARTITIONS_CONVERSATION, CAUCE_PARTITIONS_TENANT,
    CAUCE_REPLICATION). The partitions of an existing topic are not changed here: see `cauce topics grow`.
    """
    import asyncio

    from cauce.operator_notes import note
    from cauce.running import connected
    from cauce.screen import one_line
    from schemas import Action
    from streams import topic_admin as registry

    settings = connected(settings_of(data, config))
    kafka = settings.kafka_servers

    async def run() -> list[registry.TopicChange]:
        changes = await registry.apply(kafka, partitions=settings.partition_counts, replication=settings.replication)
        done = [f"{change.action} {change.topic}" for change in changes if not change.problem]
        if done:
            await note(kafka, Action.TOPICS_CHANGED, changes=done)
        return changes

    changes = asyncio.run(run())
    for change in changes:
        problem = f"  {change.problem}" if change.problem else ""
        console().print(one_line(f"{change.action:10} {change.topic}", (problem, "yellow")))
    if any(change.problem for change in changes):
        raise typer.Exit(Exit.FAILED)


@topics.command()
def grow(
    partitions: Annotated[int, typer.Argument(min=2, help="new number of partitions of each conversation topic")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Give the conversation topics of a live system more partitions; every thread keeps its order.

    The number must be a multiple of the current one. Messages of threads that move to a new partition wait until the old
    partition has published its records, half a minute or slightly longer; all others continue. Workers need no restart.
    Other producers must refresh their metadata within 10 seconds (metadata.max.age.ms=10000) or be restarted. Set
    CAUCE_PARTITIONS_CONVERSATION to the new number as well.
    """
    import asyncio

    from cauce.operator_notes import note
    from cauce.running import connected
    from schemas import Action
    from streams import growth

    settings = connected(settings_of(data, config))
    if settings.embedded:
        raise SettingsError("the embedded broker needs no more partitions: a single worker owns them all")
    kafka = settings.kafka_servers

    async def run() -> growth.Growth | None:
        grown = await growth.grow(kafka, partitions)
        if grown:
            await note(kafka, Action.TOPICS_CHANGED, partitions=grown.after, before=grown.before)
        return grown

    grown = asyncio.run(run())
    if grown is None:
        console().print(f"nothing to do: the conversation topics have {partitions} partitions")
        return
    console().print(f"the conversation topics have {grown.after} partitions instead of {grown.before}")
    what_next = "new partitions start once the old ones have published what they had; `cauce work` logs it"
    console().print(what_next, style="dim")


@topics.command("show")
def show_topics(as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None) -> None:
    """Show all topics and where they differ from the registry. Exit code 1 if one does."""
    import asyncio
    from dataclasses import asdict

    from cauce.running import connected
    from streams import topic_admin as registry

    settings = connected(settings_of(data, config))
    states = asyncio.run(registry.show(settings.kafka_servers, partitions=settings.partition_counts))
    if as_json:
        print_json([asdict(s) for s in states])
    else:
        from cauce.screen import Listing

        table = Listing("topic", "partitions", "kept for", "drift")
        for s in states:
            kept = f"{s.retention_ms / 3_600_000:g} h" if s.retention_ms is not None else "-"
            table.add_row(s.topic, str(s.partitions), kept, "; ".join(s.drift), style="yellow" if s.drift else None)
        console().print(table)
    if any(s.drift for s in states):
        raise typer.Exit(Exit.FAILED)


@state.command()
def migrate(data: DataOption = None, config: ConfigOption = None) -> None:
    """Apply missing migrations; safe to repeat and to run from several processes concurrently."""
    import asyncio

    from core.principal import OPERATOR
    from core.store_core import StoreCore
    from schemas import Action

    settings = settings_of(data, config)

    async def run() -> list[str]:
        async with opened_stores(settings, create=True) as stores:
            applied = await stores.migrate()
            if applied:
                trail, details = StoreCore(stores).trail, {"applied": applied}
                await trail.write(OPERATOR, Action.TABLES_MIGRATED, details=details)
            return applied

    applied = asyncio.run(run())
    for name in applied:
        say_line(f"applied {name}")
    if not applied:
        say_line("nothing to do: all migrations are applied")


@state.command()
def recover(
    since: Annotated[datetime, typer.Option(help="when the backup was made, in UTC: 2026-01-31T12:00:00")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Bring a store that was restored from a backup up to date with the topics. Stop all workers first.

    Threads, tool calls and the audit trail since the backup are restored from the topics; no model and no tool is called.
    Messages and events older than 7 days are no longer in the topics and cannot be recovered.
    Safe to repeat.
    """
    import asyncio

    from cauce.recovery import Recovered
    from cauce.recovery import recover as run_recovery
    from cauce.running import connected
    from core.principal import OPERATOR
    from core.store_core import StoreCore
    from schemas import Action

    settings = connected(settings_of(data, config))
    kafka = settings.kafka_servers
    assert kafka

    async def run() -> Recovered:
        async with opened_stores(settings) as stores:
            recovered = await run_recovery(kafka, stores, since.replace(tzinfo=since.tzinfo or UTC))
            details = {"since": since.isoformat(), "threads": recovered.threads, "calls": recovered.calls}
            await StoreCore(stores).trail.write(OPERATOR, Action.STATE_RECOVERED, details=details)
            return recovered

    recovered = asyncio.run(run())
    console().print(
        f"{recovered.threads} threads were behind and got {recovered.events} events; {recovered.calls} tool calls were "
        f"written, {recovered.unknown} of them with an unknown outcome. The audit trail follows when its workers run."
    )
    for gap in recovered.gaps:
        console().print(f"not recovered: {gap}", style="yellow")
    for position in recovered.unreadable:
        console().print(f"cannot be read: {position}", style="yellow")
    if recovered.gaps or recovered.unreadable:
        raise typer.Exit(Exit.FAILED)


@state.command()
def status(data: DataOption = None, config: ConfigOption = None) -> None:
    """Check that the store answers and show missing migrations. Exit code 1 if any are missing."""
    import asyncio

    settings = settings_of(data, config)

    async def run() -> list[str]:
        async with opened_stores(settings) as stores:
            await stores.ping()
            return await stores.pending_migrations()

    missing = asyncio.run(run())
    say_line(f"{settings.state_url} answers")
    for name in missing:
        say_line(f"missing: {name}")
    if missing:
        say_line("apply them with: cauce state migrate")
        raise typer.Exit(Exit.FAILED)
    say_line("all migrations are applied")
