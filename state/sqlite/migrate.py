"""Numbered migrations: `.sql` files of the folder `migrations`, each applied once, in one transaction with its mark."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path(__file__).with_name("migrations")
_MARKS = """
CREATE TABLE IF NOT EXISTS migrations (
    name       TEXT NOT NULL PRIMARY KEY,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
)
"""


def pending(connection: sqlite3.Connection) -> list[str]:
    """Names of the migrations that were not applied, in order."""
    marked = connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'").fetchone()
    applied = {name for (name,) in connection.execute("SELECT name FROM migrations")} if marked else set()
    return [file.stem for file in sorted(_FOLDER.glob("*.sql")) if file.stem not in applied]


def apply_pending(connection: sqlite3.Connection) -> list[str]:
    """Applies what is pending and returns the names.

    Runs inside a write transaction: several processes that migrate at the same time come one after the other, and each finds
    what the one before it did.
    """
    names = pending(connection)
    connection.execute(_MARKS)
    for name in names:
        for statement in _statements((_FOLDER / f"{name}.sql").read_text()):
            connection.execute(statement)
        connection.execute("INSERT INTO migrations (name) VALUES (?)", (name,))
    return names


def _statements(script: str) -> Iterator[str]:
    """The statements of a script: `executescript` would commit the transaction that is running."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"a migration ends inside a statement: {statement.strip()[:200]}")
