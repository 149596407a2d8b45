"""Runs without a thread: each gets one of its own, which is deleted at the end unless `on_completion` is `keep`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.lg import shapes
from connectors.gateway.protocols.lg.requests import RunRequest, answer, thread_fields, usual_ttl
from connectors.gateway.protocols.lg.run_routes import event_stream, locations, waited
from connectors.gateway.protocols.lg.starting_runs import Started, start
from connectors.gateway.request_parts import bodies_of, body_of, caller_of, core_of
from core import RunView
from core.costs import runs_ahead
from core.principal import Principal
from core.refusals import Refused
from core.thread_expiry import from_now
from schemas import BadRecord, ThreadKey
from schemas.ids import new_uuid

BATCH = 20
"""Runs of one request."""


async def create(request: Request) -> Response:
    """`POST /runs`: in the background."""
    core, caller = core_of(request), caller_of(request)
    body = await body_of(request)
    view = await _in_the_background(core, caller, RunRequest.of(body), kept=_kept(body))
    return answer(shapes.run(view, caller.tenant_id), headers=locations(view))


async def batch(request: Request) -> Response:
    """`POST /runs/batch`: several in the background, all of them or none."""
    core, caller = core_of(request), caller_of(request)
    bodies = await bodies_of(request, BATCH)
    wanted = [(RunRequest.of(body), _kept(body)) for body in bodies]
    async with runs_ahead(len(wanted)):
        started = (_in_the_background(core, caller, run, kept=kept) for run, kept in wanted)
        made = await asyncio.gather(*started, return_exceptions=True)
    views = [one for one in made if not isinstance(one, BaseException)]
    for failed in made:
        if isinstance(failed, BaseException):
            # A run that is over already may have taken its thread with it.
            gone = (core.threads.delete(caller, view.thread_id) for view in views)
            await asyncio.gather(*gone, return_exceptions=True)
            raise failed
    return answer([shapes.run(view, caller.tenant_id) for view in views])


async def stream(request: Request) -> Any:
    """`POST /runs/stream`."""
    core, caller = core_of(request), caller_of(request)
    body = await body_of(request)
    wanted = RunRequest.of(body)
    with core.counted_stream(caller) as counted:
        started = await _start(core, caller, wanted, kept=_kept(body))
        view = started.view
        then = (lambda: None) if _kept(body) else _deletes(core, caller, view)
        return event_stream(core, caller, wanted, started, counted=counted, then=then)


async def wait(request: Request) -> Response:
    """`POST /runs/wait`."""
    core, caller = core_of(request), caller_of(request)
    body = await body_of(request)
    wanted = RunRequest.of(body)
    with core.counted_stream(caller) as counted:
        view = (await _start(core, caller, wanted, kept=_kept(body))).view
        if _kept(body):
            return waited(core, caller, view, None, cancel=wanted.cancel_when_left, counted=counted)
        then, left = partial(core.threads.delete, caller, view.thread_id), _deletes(core, caller, view)
        return waited(core, caller, view, None, cancel=wanted.cancel_when_left, counted=counted, then=then, left=left)


def _deletes(core: GatewayCore, caller: Principal, view: RunView) -> Callable[[], None]:
    """Has the run's thread deleted when it is over."""
    return partial(core.stateless.delete_after, caller, view.thread_id, view.run_id)


async def _start(core: GatewayCore, caller: Principal, wanted: RunRequest, *, kept: bool) -> Started:
    if not kept:
        core.stateless.require_room(caller)
    thread_id = new_uuid()
    made = thread_fields(wanted.metadata)
    made["metadata"] |= {"stateless": True}
    # The thread goes with its run. Where this gateway dies before that, its time is up some time later: a timer of the store,
    # put before the thread is made, ends it then, unless something runs in it.
    later = wanted.delay.total_seconds() / 60 if wanted.delay else 0
    ttl = usual_ttl(core) if kept else from_now(core.options.stateless_minutes + later, "delete")
    async with runs_ahead():
        await core.threads.create(caller, thread_id=thread_id, **made, ttl=ttl)
        try:
            started = await start(core, caller, thread_id, wanted)
            if not kept and (at := started.view.begins_at):
                key = ThreadKey(caller.tenant_id, thread_id)
                await core.delayed.delete_thread_after(key, caller.user_id, started.view.run_id, at)
            return started
        except (Refused, BadRecord):
            await core.threads.delete(caller, thread_id)
            raise


async def _in_the_background(core: GatewayCore, caller: Principal, wanted: RunRequest, *, kept: bool) -> RunView:
    view = (await _start(core, caller, wanted, kept=kept)).view
    if not kept and not view.begins_at:  # of those that begin later a timer takes care
        core.stateless.delete_after(caller, view.thread_id, view.run_id)
    return view


def _kept(body: Mapping[str, Any]) -> bool:
    return body.get("on_completion") == "keep"
