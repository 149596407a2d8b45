"""Inputs whose effect is waited for: a thread that is made, an approval that is decided."""

from __future__ import annotations

import asyncio

from core.following.thread_stream import ThreadStreams
from core.ingress import Ingress
from core.principal import Principal
from core.refusals import AGAIN_SECONDS, Conflict, Invalid, NotNow
from schemas import (
    ChangeThread,
    InputRefused,
    ThreadEvent,
    ThreadHead,
    ThreadKey,
    new_id,
)
from schemas.base import Body
from state import Journal

_LOOK_SECONDS = 1.0


class Changes:
    """Produces an input and waits until the turns processor has journaled its result."""

    def __init__(self, journal: Journal, ingress: Ingress, streams: ThreadStreams, *, seconds: float) -> None:
        self._journal, self._ingress, self._streams, self._seconds = journal, ingress, streams, seconds

    async def done(self, principal: Principal, thread_id: str, head: ThreadHead | None, body: Body) -> ThreadEvent:
        """The event that says that the change is done.

        Raises what `apply` raises, and where the thread rejects the change `Conflict`; `Invalid` for a change of a state that no
        active run stands in the way of.
        """
        answer = await self.apply(principal, thread_id, head, body)
        if isinstance(answer, InputRefused):
            conflicts = isinstance(body, ChangeThread) or (head is not None and head.run is not None)
            raise (Conflict if conflicts else Invalid)("refused", f"The change was rejected: {answer.reason}.")
        return answer

    async def apply(
        self,
        principal: Principal,
        thread_id: str,
        head: ThreadHead | None,
        body: Body,
        *,
        input_id: str | None = None,
    ) -> ThreadEvent:
        """The event that answers the input. `head` is the thread as the caller saw it.

        Raises `Refused` when nobody has processed it in time: it is done as soon as a worker runs.
        """
        input_id, since = input_id or new_id("in"), head.next_event - 1 if head else 0
        items = self._streams.of(principal, thread_id, heartbeat=_LOOK_SECONDS).items(since)
        producing = asyncio.ensure_future(
            self._ingress.produce(ThreadKey(principal.tenant_id, thread_id), input_id, body)
        )
        try:
            async with asyncio.timeout(self._seconds):
                await producing
                async for item in items:
                    if isinstance(item, ThreadEvent) and item.ANSWERS and getattr(item, "input_id", None) == input_id:
                        return item
        except TimeoutError as error:
            detail = "It was accepted and will be done, but no worker has come to it yet."
            raise NotNow("not_done_yet", detail, retry_after=AGAIN_SECONDS) from error
        finally:
            producing.cancel()
            await items.aclose()  # type: ignore[attr-defined]  # it is a generator
        raise AssertionError("a thread's stream has no end")
