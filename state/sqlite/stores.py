"""All stores of one file: opening, migrating, closing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from schemas import SettingsError, Unavailable
from schemas.common.clock import Clock, utc_now
from schemas.common.private_files import close_for_others
from schemas.common.recent import Backoff
from state.codec import Codec
from state.sqlite import migrate
from state.sqlite.connection import File
from state.sqlite.database import Database
from state.sqlite.readers import Readers
from state.sqlite.writer import Writer
from state.stores import Stores
from state.stores.journal import INPUT_TTL

_FILE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_FILE_NAME = "state.db"
_PING_SECONDS = 2.0
_LONGEST_WAIT = 2.0  # seconds between two attempts to open a file that another process holds


class SqliteStores(Stores):
    """See `state.Stores`. Only `migrate` makes the tables."""

    def __init__(
        self,
        path: Path,
        *,
        synchronous: str = "normal",
        busy_timeout: float = 5.0,
        readers: int = 4,
        input_ttl: float = INPUT_TTL,
        now: Clock = utc_now,
        codec: Codec | None = None,
    ) -> None:
        """The stores in the file `path`.

        Args:
            path: The file; its folder is made when the stores are opened.
            synchronous: `normal`, or `full` where a power cut must not lose an acknowledged turn.
            busy_timeout: Seconds that a lock of another process is waited for.
            readers: Threads that read.
            input_ttl: Seconds that the outputs of processed inputs are kept.
            now: The clock that inputs expire by.
            codec: What bodies go through.
        """
        self._file = File(path, synchronous, busy_timeout)
        self._writer, self._readers = Writer(self._file), Readers(self._file, threads=readers)
        super().__init__("sqlite", Database(self._writer, self._readers, now, input_ttl, codec or Codec()))

    @property
    def path(self) -> Path:
        """The database file."""
        return self._file.path

    async def open(self) -> None:
        """Opens the file, waiting as long as another process holds it. Raises `Unavailable` when it cannot be used."""
        wait = Backoff(0.05, _LONGEST_WAIT)
        while True:
            try:
                connection = await asyncio.to_thread(self._connect)
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise self._file.explain(error) from error
                await asyncio.sleep(wait.next())
            except sqlite3.Error as error:
                raise self._file.explain(error) from error
        self._readers.start()
        self._writer.start(connection)

    async def close(self) -> None:
        """Writes what is queued and closes the file."""
        await self._writer.stop()
        await self._readers.stop()

    async def migrate(self) -> list[str]:
        """See `state.Stores.migrate`."""
        return await self._writer.run(migrate.apply_pending)

    async def pending_migrations(self) -> list[str]:
        """See `state.Stores.pending_migrations`."""
        return await self._readers.run(migrate.pending)

    async def ping(self) -> None:
        """See `state.Stores.ping`."""
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await self._readers.run(lambda c: c.execute("SELECT count(*) FROM sqlite_schema").fetchone())
        except TimeoutError:
            raise Unavailable(f"the database {self.path} did not answer within {_PING_SECONDS:g} s") from None

    def _connect(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(
                f"the folder {self.path.parent} cannot be made: {error.strerror}. Choose another one for the data."
            ) from error
        connection = self._file.connect()
        close_for_others(self.path)
        try:
            connection.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for each other
        except BaseException:
            connection.close()
            raise
        return connection


def from_url(url: str, **options: Any) -> SqliteStores:
    """Stores of a URL such as `sqlite:///path/to/folder?synchronous=full`.

    Three slashes begin an absolute path, `sqlite:relative/path` is relative to the working directory; characters that
    mean something in a URL are percent-encoded. A path that ends in `.db`, `.sqlite` or `.sqlite3` is the file, any
    other the folder in which `state.db` is kept. Options are those of `SqliteStores`. Raises `SettingsError`.
    """
    parts = urlsplit(url)
    if parts.netloc or not parts.path.strip("/"):
        raise SettingsError(f"the state URL {url!r} has no path. Write sqlite:///path/to/folder, with three slashes.")
    path = Path(unquote("/" + parts.path.lstrip("/") if parts.path.startswith("/") else parts.path))
    if path.suffix not in _FILE_SUFFIXES:
        path /= _FILE_NAME
    return SqliteStores(path, **_checked({**dict(parse_qsl(parts.query)), **options}))


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    kinds: dict[str, Callable[[Any], Any]] = {
        "synchronous": str,
        "busy_timeout": float,
        "readers": int,
        "input_ttl": float,
        "now": lambda clock: clock,
        "codec": lambda codec: codec,
    }
    if unknown := sorted(options.keys() - kinds.keys()):
        raise SettingsError(f"SQLite state has no option {unknown[0]!r}; it has {', '.join(sorted(kinds))}.")
    try:
        checked = {name: kinds[name](value) for name, value in options.items()}
    except ValueError as error:
        raise SettingsError(f"an option of the SQLite state URL is not a number: {error}") from error
    if checked.get("synchronous", "normal") not in ("normal", "full"):
        raise SettingsError(f"synchronous is {checked['synchronous']!r}; it may be normal or full.")
    return checked
