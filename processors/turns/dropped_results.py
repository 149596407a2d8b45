"""What the ledger has of a thread that is deleted: that calls were made stays, so that none is made twice; their results go."""

from __future__ import annotations

import json

from schemas import ThreadKey, ToolRequested
from state import Journal, ToolLedger

_PAGE = 500


async def drop_results(journal: Journal, ledger: ToolLedger, key: ThreadKey) -> None:
    """Before the deletion is committed, after which nobody knows the calls any more. Also those of runs that were rolled back:
    the thread's events name them all. A thread that lost a result so is deleted in any case: it is tried until it is."""
    since = 0
    while events := await journal.events(*key, since=since, limit=_PAGE):
        for event in events:
            if event.type == ToolRequested.TYPE:
                await ledger.drop_content(key.tenant_id, str(json.loads(event.body)["call_id"]))
        since = events[-1].seq
