"""The checks that `cauce doctor` runs."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

from cauce.access_checks import addresses_of_folder, weaknesses
from cauce.opened_stores import opened_core, opened_stores
from cauce.running import NotRunning, WorkerNote, connected, find_services, find_workers
from cauce.settings import Settings, unknown_variables
from schemas import CauceError, SettingsError
from schemas.common.clock import utc_now
from schemas.common.private_files import open_for_others
from schemas.common.server_access import without_credentials

if TYPE_CHECKING:
    from connectors.event_source import EventSource
    from connectors.sender import Sender
    from connectors.toolset import ToolSpec

FREE_BYTES = 1 << 30
HEALTH_SECONDS = 5.0
"""Timeout of a request to a health page, whose own checks take at most 3 s."""
RECENT = timedelta(days=1)
"""A dead letter older than this is listed without a warning."""
PINNED = ("aiokafka", "faststream", "langgraph", "langchain", "arcadepy", "cassandra-driver", "pydantic")


@dataclass(frozen=True)
class Finding:
    """The result of one check. `detail` says what was found, what is wrong, and what to do."""

    subject: str
    verdict: Literal["ok", "warning", "problem"]
    detail: str


async def examine(settings: Settings, *, file_was_named: bool = True) -> list[Finding]:
    """Runs all checks; a check that fails does not prevent the others.

    No key is sent to an address that only the file of the working directory has, unless that file was named.
    """
    unasked = {} if file_was_named else addresses_of_folder(settings, os.environ)
    findings = [_python(), _packages(), _environment(), _folder(settings)]
    if settings.cassandra:
        findings.append(_driver())
    findings.append(_access(settings))
    running, finding = _running(settings)
    findings.append(finding)
    findings += [await _health(service.title, service.health, service.pid) for service in find_services(settings)]
    if "model_url" in unasked:
        findings.append(_not_sent("Model", "model_url", unasked["model_url"], settings))
    else:
        findings.append(await _guarded("Model", lambda: _model(running, find_workers(settings))))
    if running.kafka:
        findings.append(await _guarded("Kafka", lambda: _kafka(running)))
        findings.append(await _guarded("Dead letters", lambda: _dead_letters(running)))
    findings.append(await _guarded("Store", lambda: _store(running)))
    if "arcade_url" in unasked:
        findings.append(_not_sent("Tools", "arcade_url", unasked["arcade_url"], settings))
    else:
        findings.append(await _guarded("Tools", lambda: _tools(running)))
    findings += [await _guarded(subject, check) for subject, check in _channels(running)]
    return findings


async def _guarded(subject: str, check: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await check()
    except Exception as error:
        return Finding(
            subject, "problem", f"{error}" if isinstance(error, CauceError) else f"{type(error).__name__}: {error}"
        )


def _not_sent(subject: str, name: str, url: str, settings: Settings) -> Finding:
    detail = (
        f"{name} is {without_credentials(url)} in {settings.file} of this folder. Nothing was sent there, since your key "
        f"would go with it; if you trust that file, run: cauce doctor --config {settings.file}"
    )
    return Finding(subject, "warning", detail)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 15):
        return Finding("Python", "ok", version)
    return Finding("Python", "problem", f"{version}; Cauce needs 3.11 to 3.14")


def _packages() -> Finding:
    missing, found = [], []
    for name in PINNED:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("Packages", "problem", f"missing: {', '.join(missing)}; install Cauce again")
    return Finding("Packages", "ok", ", ".join(found))


def _environment() -> Finding:
    unknown = unknown_variables(os.environ)
    if unknown:
        return Finding("Settings", "warning", f"{', '.join(unknown)} is not a setting of Cauce; check the spelling")
    return Finding("Settings", "ok", "understood")


def _folder(settings: Settings) -> Finding:
    folder = settings.data if settings.data.exists() else settings.data.absolute().parent
    if not os.access(folder, os.W_OK):
        return Finding("Data folder", "problem", f"{settings.data} cannot be written; choose another with --data")
    if settings.data.exists() and open_for_others(settings.data):
        return Finding(
            "Data folder",
            "problem",
            f"{settings.data.absolute()} can be read by other users of this machine; close it with: chmod 700 {settings.data}",
        )
    free = shutil.disk_usage(folder).free
    detail = f"{settings.data.absolute()}, {free / (1 << 30):.1f} GiB free"
    return Finding("Data folder", "ok" if free > FREE_BYTES else "warning", detail)


def _access(settings: Settings) -> Finding:
    found = weaknesses(settings)
    if not found:
        return Finding("Access", "ok", "files are closed for others, and no server elsewhere is used in the clear")
    return Finding("Access", found[0][0], "; ".join(text for _, text in found))


def _driver() -> Finding:
    from state.cassandra import check_driver

    try:
        check_driver()
    except SettingsError as error:
        return Finding("Cassandra driver", "problem", str(error))
    return Finding("Cassandra driver", "ok", "libev is available")


def _running(settings: Settings) -> tuple[Settings, Finding]:
    """The settings, with the addresses of the running system if one runs."""
    if not settings.embedded:
        return settings, Finding("System", "ok", f"a cluster: Kafka at {settings.kafka}")
    try:
        found = connected(settings)
    except NotRunning as error:
        return settings, Finding("System", "warning", str(error))
    if not find_workers(settings):
        detail = (
            f"runs from {settings.data}, but without a worker: no message is answered until one is running "
            f"(log: {settings.data / 'logs' / 'worker.log'})"
        )
        return found, Finding("System", "warning", detail)
    return found, Finding("System", "ok", f"runs from {settings.data}")


async def _health(subject: str, base_url: str, pid: int) -> Finding:
    """What a process reports at `/readyz`. No answer means that its event loop is blocked or the process is frozen."""
    import httpx

    try:
        async with httpx.AsyncClient(timeout=HEALTH_SECONDS, trust_env=False) as client:
            answer = await client.get(f"{base_url}/readyz")
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        detail = (
            f"process {pid} does not answer at {base_url}/readyz ({type(error).__name__}): it is frozen, or something blocks it, "
            f"such as a graph node that does not await. It may recover by itself; if not, end it with kill -9 {pid}: nothing "
            "is lost, and `cauce up` restarts it"
        )
        return Finding(subject, "problem", detail)
    if answer.status_code == 200:
        return Finding(subject, "ok", f"process {pid} is ready")
    wrong = "; ".join(f"{name}: {detail}" for name, detail in found.items() if name != "status")
    return Finding(subject, "problem", f"process {pid} is not ready: {wrong} ({base_url}/readyz)")


async def _model(settings: Settings, workers: Sequence[WorkerNote]) -> Finding:
    from connectors.models import detect_model, is_chat_model

    if (
        settings.model == "auto" and workers
    ):  # workers may have other environment variables than this process, from their shell or a langgraph.json
        return _model_finding(workers[0].model, workers[0].model_why)

    if settings.model != "auto":
        if not is_chat_model(settings.model.partition(":")[2]):
            detail = f"{settings.model}, from the settings; its name is not that of a chat model: set one that can chat"
            return Finding("Model", "warning", detail)
        return Finding("Model", "ok", f"{settings.model}, from the settings")
    found = await detect_model(os.environ, url=settings.model_url)
    return _model_finding(found.choice.name, found.why)


def _model_finding(name: str, why: str) -> Finding:
    return Finding("Model", "warning" if "missing" in why or "no chat model" in why else "ok", f"{name}: {why}")


async def _kafka(settings: Settings) -> Finding:
    from streams import topic_admin

    states = await topic_admin.show(settings.kafka_servers, partitions=settings.partition_counts)
    drift = [f"{s.topic} {'; '.join(s.drift)}" for s in states if s.drift]
    if drift:
        return Finding("Kafka", "problem", f"{settings.kafka} answers, but {drift[0]} (see: cauce topics show)")
    return Finding("Kafka", "ok", f"{settings.kafka}, {len(states)} topics match the registry")


async def _dead_letters(settings: Settings) -> Finding:
    from streams.dead_letters import list_dead_letters

    rows = await list_dead_letters(settings.kafka_servers, limit=20)
    if not rows:
        return Finding("Dead letters", "ok", "none")
    newest, recent = rows[-1], [row for row in rows if row.letter.at > utc_now() - RECENT]
    letter = newest.letter
    where = (
        f"{letter.topic}, partition {letter.partition}, offset {letter.offset}, at {letter.at:%Y-%m-%d %H:%M:%S} UTC"
    )
    if not recent:
        return Finding("Dead letters", "ok", f"none in the last 24 hours; the newest is from {where}")
    several = f"{len(recent)}{' or more' if len(recent) == 20 else ''} records"
    detail = (
        f"{'1 record' if len(recent) == 1 else several} could not be processed in the last 24 hours, the last one in {where}: "
        f"{letter.reason[:300]}. See: cauce dlq list, cauce dlq show {newest.number}"
    )
    return Finding("Dead letters", "warning", detail)


async def _store(settings: Settings) -> Finding:
    if not settings.has_state:
        return Finding("Store", "ok", "SQLite; created at the first start")
    async with opened_stores(settings) as stores:
        await stores.ping()
        missing = await stores.pending_migrations()
    if missing:
        return Finding(
            "Store", "problem", f"{len(missing)} migrations are missing; apply them with: cauce state migrate"
        )
    return Finding("Store", "ok", settings.state_url)


async def _tools(settings: Settings) -> Finding:
    from connectors.toolsets import made_toolsets

    try:
        toolsets = made_toolsets(settings.connectors)
    except SettingsError as error:
        if settings.embedded:
            return Finding("Tools", "ok", "emulated while `cauce up` runs; set ARCADE_API_KEY for real accounts")
        return Finding("Tools", "warning", f"{error}. Until then, workers of the groups turns and tools cannot start")
    try:
        checked = await asyncio.gather(*(one.check() for one in toolsets.all), return_exceptions=True)
        if wrong := [one for one in checked if isinstance(one, BaseException)]:
            raise wrong[0]
        offer = await toolsets.offer()
        if too_many := " ".join((*offer.left_out, await _left_out(settings, offer.tools))).strip():
            return Finding("Tools", "warning", too_many)
    finally:
        await toolsets.close()
    return Finding("Tools", "ok", "; ".join(map(str, checked)))


def _channels(settings: Settings) -> Iterator[tuple[str, Callable[[], Awaitable[Finding]]]]:
    """A check for each event source and sender that is configured."""
    from connectors.connector import connectors

    async def checked(subject: str, made: EventSource | Sender) -> Finding:
        return Finding(subject, "ok", await made.check())

    for one in connectors():
        for what, make in (("events", one.source), ("notifications", one.sender)):
            if make and (made := make(settings.connectors[one.name])):
                subject = f"{one.name}: {what}"
                yield subject, partial(checked, subject, made)


async def _left_out(settings: Settings, tools: Mapping[str, ToolSpec]) -> str:
    """A warning about the first agent that is allowed more tools than its model can be offered; empty when there is none."""
    from core.principal import OPERATOR
    from processors.turns.profile import offered_tools

    if not settings.has_state:
        return ""
    async with opened_core(settings) as core:
        for tenant in await core.tenants.all(OPERATOR):
            for agent in tenant.agents:
                if notice := offered_tools(agent, tools)[1]:
                    return f"the agent {agent.agent_id} of {tenant.tenant_id}: {notice}"
    return ""
