"""Answers on their way: taken from the moment that they are sent, until their turn is in the journal (`OpenInput`)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from schemas import AcceptedRun, ActiveRun, BadRecord, OpenInput, ServerTrouble, ThreadKey, Unavailable
from schemas.common.clock import utc_now
from state import Journal


def answer_to(
    user_id: str, run: ActiveRun, input_id: str, *, resumes: bool = False, decides: tuple[str, ...] = ()
) -> OpenInput:
    """What readers are to know of an answer to this run."""
    return OpenInput(
        input_id=input_id,
        run_id=run.run_id,
        user_id=user_id,
        agent_id=run.agent_id,
        at=utc_now(),
        resumes=resumes,
        decides=decides,
    )


@asynccontextmanager
async def sent(journal: Journal, key: ThreadKey, answer: OpenInput) -> AsyncIterator[None]:
    """What the block sends counts as taken, unless sending it fails."""
    await journal.announce(*key, answer)
    try:
        yield
    except (
        ServerTrouble,
        BadRecord,
    ):  # also where it may have been taken: a user who could not answer again would be stuck
        await withdrawn(journal, key, answer.input_id)
        raise


@asynccontextmanager
async def promised(journal: Journal, key: ThreadKey, run: AcceptedRun, *, repeated: bool) -> AsyncIterator[None]:
    """The run that the block sends for counts as accepted, unless sending fails. One that was promised before stays so."""
    await journal.accept(*key, run)
    try:
        yield
    except (Unavailable, BadRecord):  # where the outcome is not known it may have been taken
        if not repeated:
            await withdrawn(journal, key, run.run_id)
        raise


async def withdrawn(journal: Journal, key: ThreadKey, input_id: str) -> None:
    """Takes back what was promised of an input that was not sent."""
    with contextlib.suppress(ServerTrouble):  # the caller gets the more serious error; this resolves by itself
        await journal.withdraw(*key, input_id)
