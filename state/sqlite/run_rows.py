"""Runs of a thread: those that were accepted, and those that are over. See `state.Journal`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from schemas import AcceptedRun, StoredRun
from state.journal_rows import accepted_values, decode_accepted, decode_promises, decode_runs
from state.micros import to_micros
from state.pages import PAGE_BYTES, Page, paged
from state.sqlite.database import Database
from state.stores.journal import kept_from

PURGED_A_COMMIT = 8
"""Expired inputs deleted by a commit: more than it adds, so that none pile up, and few enough not to be felt."""
NO_SEQ = 2**63 - 1
"""Above the number of any row."""

_RUNS = "SELECT run_id, body, last_seq FROM runs WHERE tenant_id = ? AND thread_id = ? AND last_seq < ? ORDER BY last_seq DESC"
_ONE_RUN = "SELECT run_id, body FROM runs WHERE tenant_id = ? AND thread_id = ? AND run_id = ?"
_ENDED = "SELECT run_id FROM runs WHERE tenant_id = ? AND thread_id = ? AND run_id IN (SELECT value FROM json_each(?))"
_ACCEPT = """
INSERT OR REPLACE INTO accepted_runs (tenant_id, thread_id, run_id, body, details, expires_at) VALUES (?, ?, ?, ?, ?, ?)
"""
_ACCEPTED = """
SELECT run_id, body, CASE WHEN ? THEN details END FROM accepted_runs
WHERE tenant_id = ? AND thread_id = ? AND run_id = ? AND expires_at > ?
"""
_ACCEPTED_IDS = """
SELECT run_id FROM accepted_runs WHERE tenant_id = ? AND thread_id = ? AND expires_at > ?
ORDER BY expires_at DESC, run_id DESC LIMIT ?
"""
_PROMISES = """
SELECT run_id, body FROM accepted_runs
WHERE tenant_id = ? AND thread_id = ? AND expires_at > ? AND run_id IN (SELECT value FROM json_each(?))
"""
_PURGE_ACCEPTED = """
DELETE FROM accepted_runs WHERE (tenant_id, thread_id, run_id) IN (
    SELECT tenant_id, thread_id, run_id FROM accepted_runs WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""


class SqliteRuns:
    """The runs of all threads."""

    def __init__(self, database: Database) -> None:
        self._writer, self._readers, self._now = database.writer, database.readers, database.now
        self._codec = database.codec
        self._ttl_micros = round(database.input_ttl * 1_000_000)

    async def accept(self, tenant_id: str, thread_id: str, run: AcceptedRun) -> None:
        """See `state.Journal.accept`."""
        at = self._now()
        now, until = to_micros(at), to_micros(kept_from(run, at)) + self._ttl_micros
        row = (tenant_id, thread_id, run.run_id, *accepted_values(self._codec, tenant_id, run), until)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_ACCEPT, row)
            connection.execute(_PURGE_ACCEPTED, (now, PURGED_A_COMMIT))

        await self._writer.run(write)

    async def accepted(
        self, tenant_id: str, thread_id: str, *, run_id: str, details: bool = True
    ) -> AcceptedRun | None:
        """See `state.Journal.accepted`."""
        wanted = (details, tenant_id, thread_id, run_id, to_micros(self._now()))
        row = await self._readers.run(lambda c: c.execute(_ACCEPTED, wanted).fetchone())
        if row is None:
            return None
        run = decode_accepted(self._codec, row, (tenant_id, thread_id))
        return run if details else run.model_copy(update={"details": {}})

    async def accepted_ids(self, tenant_id: str, thread_id: str, *, limit: int = 1000) -> list[str]:
        """See `state.Journal.accepted_ids`."""
        wanted = (tenant_id, thread_id, to_micros(self._now()), max(limit, 0))
        return [run_id for (run_id,) in await self._readers.run(lambda c: c.execute(_ACCEPTED_IDS, wanted).fetchall())]

    async def promises(
        self, tenant_id: str, thread_id: str, run_ids: Collection[str], *, max_bytes: int = PAGE_BYTES
    ) -> list[AcceptedRun]:
        """See `state.Journal.promises`."""
        key = (tenant_id, thread_id)
        wanted = (*key, to_micros(self._now()), json.dumps(list(run_ids)))
        return await self._readers.run(
            lambda c: paged(
                c.execute(_PROMISES, wanted),
                lambda rows: decode_promises(self._codec, rows, key),
                limit=len(run_ids),
                max_bytes=max_bytes,
                place=lambda row: row[0],
            )
        )

    async def runs(
        self,
        tenant_id: str,
        thread_id: str,
        *,
        run_id: str | None = None,
        before: int | None = None,
        limit: int = 100,
        max_bytes: int = PAGE_BYTES,
    ) -> Page[StoredRun]:
        """See `state.Journal.runs`."""
        key = (tenant_id, thread_id)
        if run_id is not None:
            rows = await self._readers.run(lambda c: c.execute(_ONE_RUN, (*key, run_id)).fetchall())
            return Page(decode_runs(self._codec, rows, key, run_id=run_id))
        wanted = (*key, NO_SEQ if before is None else before)
        found = await self._readers.run(
            lambda c: paged(
                c.execute(_RUNS, wanted),
                lambda rows: decode_runs(self._codec, (row[:2] for row in rows), key, run_id=None),
                limit=limit,
                max_bytes=max_bytes,
                place=lambda row: row[2],
            )
        )
        return Page(found[::-1], found.next)

    async def ended(self, tenant_id: str, thread_id: str, run_ids: Collection[str]) -> set[str]:
        """See `state.Journal.ended`."""
        wanted = (tenant_id, thread_id, json.dumps(list(run_ids)))
        return {run_id for (run_id,) in await self._readers.run(lambda c: c.execute(_ENDED, wanted).fetchall())}
