"""Connections to the file, and its errors as text for people."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from schemas import OutcomeUnknown, Unavailable

_PRIMARY_CODE = 0xFF  # an extended result code has the primary one in its low byte (sqlite.org/rescode.html)


def _text(stored: bytes) -> str:
    return stored.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class File:
    """The database file and how it is used. `busy_timeout`: seconds that a lock of another process is waited for."""

    path: Path
    synchronous: str = "normal"
    busy_timeout: float = 5.0

    def connect(self) -> sqlite3.Connection:
        """A connection in autocommit mode: transactions are begun and ended by statements of ours.

        Raises `sqlite3.Error`; `explain` turns it into an error of ours.
        """
        connection = sqlite3.connect(
            self.path, timeout=self.busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        # Bytes that are no UTF-8 cost themselves: sqlite3 would refuse the whole answer.
        connection.text_factory = _text
        try:
            # A power cut may lose the last transactions with `normal`, never consistency (sqlite.org/pragma.html).
            connection.execute(f"PRAGMA synchronous = {self.synchronous}")
            # What was deleted is overwritten, also in pages that are free from then on.
            connection.execute("PRAGMA secure_delete = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def explain(self, error: sqlite3.Error, *, sent: bool = False) -> Exception:
        """The error as one of ours; `sent` says that it came out of a COMMIT, which may have taken effect."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
        path = self.path
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Unavailable(
                f"the database {path} has been locked by another process for more than {self.busy_timeout:g} s. "
                "Find the backup, or the shell with an open transaction, and end it."
            )
        if code == sqlite3.SQLITE_FULL:
            return Unavailable(f"nothing was written to {path}: the disk is full. Free some space.")
        if code == sqlite3.SQLITE_READONLY:
            return Unavailable(
                f"the database {path} is read-only. Give this user the right to write to the file and to its folder, "
                "or choose another folder."
            )
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            return Unavailable(
                f"the database {path} cannot be opened: {error}. Check that its folder exists and may be written to."
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return Unavailable(f"{path} is damaged or no SQLite database ({error}). Restore it from a backup.")
        if code == sqlite3.SQLITE_IOERR:
            message = f"reading or writing {path} failed: {error}. Check the disk and the limits on file sizes."
            return OutcomeUnknown(message) if sent else Unavailable(message)
        if any(part in str(error) for part in ("no such table", "no such column", "has no column")):
            return Unavailable(f"the database {path} lacks a table or a column ({error}). Run: cauce state migrate")
        return error
