"""The thread-centric protocol on a WebSocket: commands in, and on the same connection their answers and the thread's events.

A connection that cannot continue is closed with 4000 and the status that the same request has over HTTP: clients do not try those
of 4400 to 4499 again, except 4408 and 4429.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.given_json import given_json
from connectors.gateway.problems import Problem, as_problem
from connectors.gateway.protocols.lg.thread_state import dumps
from connectors.gateway.protocols.lg.v2 import no_command, obey, opened, refusal, subscription
from connectors.gateway.request_parts import mapping
from core.costs import spend
from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import Invalid, Missing, shown
from schemas import ServerTrouble

log = logging.getLogger("cauce.gateway")

MOST_SUBSCRIPTIONS = 50
"""Subscriptions of one connection."""
LOOK_SECONDS = 1.0
"""How often a subscription looks for a thread that does not exist yet."""


async def serve(socket: WebSocket) -> None:
    """`WS /threads/{t}/stream/events`."""
    core: GatewayCore = socket.app.state.core
    caller: Principal = socket.scope["cauce.principal"]
    await socket.accept()
    connection = _Connection(socket, core, caller, socket.path_params["thread_id"])
    cut: str | None = None
    end: Callable[[str | None], None] = lambda why: None  # noqa: E731
    try:
        require(caller, Operation.READ)
        end = core.count_stream(caller)
        await core.threads.find(caller, connection.thread_id)  # not somebody else's
        await connection.run()
    except WebSocketDisconnect:
        pass
    except TimeoutError:
        cut = "slow_reader"
        await _close(socket, Problem(503, "slow_reader", "You read more slowly than the agent writes."))
    except Exception as error:
        problem = as_problem(error)
        cut = problem.code
        await _close(socket, problem)
    finally:
        end(cut)


async def _close(socket: WebSocket, problem: Problem) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(1):
            await socket.send_text(dumps({**refusal(None, problem), "error": problem.code}))
            await socket.close(4000 + problem.status, problem.detail[:100])


class _Connection:
    def __init__(self, socket: WebSocket, core: GatewayCore, caller: Principal, thread_id: str) -> None:
        self._socket, self._core, self._caller, self.thread_id = socket, core, caller, thread_id
        self._count: Callable[..., Awaitable[None]] | None = socket.scope.get("cauce.count")
        self._sending = asyncio.Lock()
        self._changed = asyncio.Event()
        """A command may have made the thread."""
        self._subscriptions: dict[str, asyncio.Task[None]] = {}
        self._made = 0

    async def run(self) -> None:
        """Until the client leaves. Raises what ends the connection."""
        reading, counting = asyncio.create_task(self._read()), asyncio.create_task(self._still_counts())
        try:
            while not reading.done():
                waits = {reading, counting, *self._subscriptions.values()}
                self._changed.clear()
                changed = asyncio.create_task(self._changed.wait())
                done, _ = await asyncio.wait({*waits, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if counting.done():
                    counting.result()
                for name, task in [*self._subscriptions.items()]:
                    if task in done:
                        del self._subscriptions[name]
                        task.result()
            reading.result()
        finally:
            tasks = [reading, counting, *self._subscriptions.values()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _still_counts(self) -> None:
        """Raises what ends the caller's credential; also where nothing is subscribed to."""
        while True:
            await asyncio.sleep(self._core.options.heartbeat)
            with contextlib.suppress(ServerTrouble):  # nobody knows: asked again with the next heartbeat
                await self._core.access.still(self._caller)

    async def _read(self) -> None:
        while True:
            await self._send(await self._answered(await self._socket.receive_text()))
            self._changed.set()

    async def _answered(self, text: str) -> Mapping[str, Any]:
        number: int | None = None
        try:
            if len(text.encode()) > self._core.options.max_body:
                raise Problem(
                    413,
                    "body_too_large",
                    f"The command is larger than the allowed {self._core.options.max_body:,} bytes.",
                )
            command = given_json(text.encode())
            if not isinstance(command, dict):
                raise Problem(400, "invalid_argument", f"The command is {shown(command)}, but must be a JSON object.")
            given, method = command.get("id"), command.get("method")
            number = given if isinstance(given, int) else None
            if number is None or not isinstance(method, str):
                raise Invalid("invalid_argument", no_command(given, method))
            parameters = mapping(command.get("params"), "params")
            await self._core.access.still(self._caller)
            if self._count:
                await self._count()
            if method == "subscription.subscribe":
                return {
                    "type": "success",
                    "id": number,
                    "result": {"subscription_id": await self._subscribe(parameters)},
                }
            if method == "subscription.unsubscribe":
                return {"type": "success", "id": number, "result": self._unsubscribe(parameters)}
            return await obey(self._core, self._caller, self.thread_id, number, method, parameters)
        except Exception as error:
            problem = as_problem(error)
            if number is None and problem.status == 413:
                raise problem from error
            return refusal(number, problem)

    async def _subscribe(self, parameters: Mapping[str, Any]) -> str:
        wanted, since = subscription(parameters)
        if len(self._subscriptions) >= MOST_SUBSCRIPTIONS:
            raise Invalid(
                "invalid_argument",
                f"This connection has {MOST_SUBSCRIPTIONS} subscriptions, the most allowed; unsubscribe from one first.",
            )
        await spend("stream")
        self._made += 1
        name = f"sub-{self._made}"

        async def send_events() -> None:
            while await self._core.threads.find(self._caller, self.thread_id) is None:
                with contextlib.suppress(TimeoutError):  # the run that makes it may come here or elsewhere
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._changed.wait()
            projection, items = await opened(
                self._core, self._caller, self.thread_id, wanted, since, self._socket.headers
            )
            async for one in projection.read(items):
                if one is not None:
                    await self._send(projection.envelope(*one))
            raise Missing("thread_not_found", "The thread was deleted.")

        self._subscriptions[name] = asyncio.create_task(send_events())
        return name

    def _unsubscribe(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        task = self._subscriptions.pop(name := str(parameters.get("subscription_id")), None)
        if task is None:
            raise Missing("no_such_subscription", f"There is no subscription {name[:60]!r} on this connection.")
        task.cancel()
        return {}

    async def _send(self, message: Mapping[str, Any] | str) -> None:
        text = message if isinstance(message, str) else dumps(message)
        async with self._sending, asyncio.timeout(self._core.options.slow_seconds):
            await self._socket.send_text(text)
