"""Turns that take a while: readers of the thread see them while they run, from a row beside the journal.

A turn is journaled when it is over, and a model or a graph may work for minutes before. A quick turn is not announced, so that
the usual turn costs no additional write.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from schemas import ApprovalDecision, CauceError, GraphInput, OpenInput, Record
from state import Journal
from threads.draft import Draft
from threads.graph_transitions import continues

log = logging.getLogger("cauce.turns")

ANNOUNCED_AFTER = 0.5
"""Seconds. Who polls once a second sees it; a turn of a fast model is over before, also on a busy worker."""


@contextlib.asynccontextmanager
async def announced(
    journal: Journal, draft: Draft, record: Record, *, after: float = ANNOUNCED_AFTER
) -> AsyncIterator[None]:
    """While the block lasts longer than `after` seconds, the draft's input is an open one that was begun.

    Best effort: a row that cannot be written changes nothing for the turn. Where the process dies the row stays, and is right:
    the record is redelivered.
    """
    writing: list[asyncio.Task[None]] = []
    timer = asyncio.get_running_loop().call_later(
        after, lambda: writing.append(asyncio.create_task(_write(journal, draft, record), name="turn-underway"))
    )
    try:
        yield
    finally:
        timer.cancel()
        if writing:  # the commit, which takes the row away, must not overtake it
            await asyncio.wait(writing)


async def _write(journal: Journal, draft: Draft, record: Record) -> None:
    draft.announced = True
    try:
        await journal.announce(*draft.thread, open_input(draft, record))
    except CauceError as error:
        log.debug("that a turn of %s is in progress could not be written: %s", draft.thread, error)


def open_input(draft: Draft, record: Record) -> OpenInput:
    """What readers see of the turn."""
    run, body, before = draft.run, record.body, draft.base.head
    resumed = before is not None and before.run is not None and before.run.run_id == run.run_id
    return OpenInput(
        input_id=draft.input_id,
        run_id=run.run_id,
        user_id=run.user_id,
        agent_id=run.agent_id,
        at=draft.now,
        begun=True,
        resumes=resumed and isinstance(body, GraphInput) and continues(body.request),
        decides=(body.call_id,) if isinstance(body, ApprovalDecision) else (),
        graph=run.graph_name,
    )
