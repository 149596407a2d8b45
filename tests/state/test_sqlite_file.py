"""What only SQLite can show: several processes and one file, kills, locks, disks that refuse."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas import Message, OutcomeUnknown, StoredMessage, ThreadHead, Unavailable
from state import Commit, Committed, Stale, Stores, open_stores
from state.sqlite import SqliteStores

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
OPEN = Callable[..., Awaitable[Stores]]


def turn(n: int, text: str = "hello", *, version: int | None = None) -> Commit:
    message = Message(message_id=f"m{n}", role="user", text=text, run_id="r1", at=NOON)
    return Commit(
        input_id=f"i{n}",
        expected_version=n if version is None else version,
        head=ThreadHead(user_id="u1", created_at=NOON, updated_at=NOON, next_message=n + 2),
        outputs=text.encode(),
        messages=(StoredMessage(seq=n + 1, message=message),),
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}"


@pytest.fixture
async def opened(url: str) -> AsyncIterator[OPEN]:
    """Opens stores of one file; each call stands for another process."""
    async with AsyncExitStack() as stack:

        async def open_one(**options: object) -> Stores:
            stores = open_stores(url, **options)
            await stores.open()
            stack.push_async_callback(stores.close)
            await stores.migrate()
            return stores

        yield open_one


def child(program: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process that runs `program` with this module's `turn`."""
    prelude = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
    return subprocess.Popen(
        [sys.executable, "-c", prelude + program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


WRITE_FOR_EVER = """
import asyncio
from test_sqlite_file import turn
from state import open_stores

async def main(url, thread):
    stores = open_stores(url)
    await stores.open()
    await stores.migrate()
    for n in range(100_000):
        await stores.journal.commit("t", thread, turn(n, "x" * 2000))
        print(n, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_migrations_are_applied_once_and_by_one_of_several_processes(opened: OPEN, url: str) -> None:
    fresh = open_stores(url)
    await fresh.open()
    assert await fresh.pending_migrations() == [
        "0001_stores",
        "0002_gateway",
        "0003_graphs",
        "0004_open_inputs",
        "0005_timers",
        "0006_bodies",
        "0007_positions",
        "0008_pages",
        "0009_audit_by_user",
    ]
    rivals = [open_stores(url) for _ in range(5)]
    await asyncio.gather(*(rival.open() for rival in rivals))
    applied = await asyncio.gather(*(rival.migrate() for rival in (fresh, *rivals)))
    assert sorted(applied) == [[]] * 5 + [
        [
            "0001_stores",
            "0002_gateway",
            "0003_graphs",
            "0004_open_inputs",
            "0005_timers",
            "0006_bodies",
            "0007_positions",
            "0008_pages",
            "0009_audit_by_user",
        ]
    ]
    assert await fresh.pending_migrations() == []
    assert await fresh.migrate() == []
    for stores in (fresh, *rivals):
        await stores.close()


async def test_store_without_tables_says_how_to_make_them(url: str) -> None:
    stores = open_stores(url)
    await stores.open()
    with pytest.raises(Unavailable, match="cauce state migrate"):
        await stores.journal.commit("t", "th", turn(0))
    with pytest.raises(Unavailable, match="cauce state migrate"):
        await stores.journal.hydrate("t", "th", window=1)
    await stores.close()


async def test_two_processes_share_the_file_and_lose_races_to_each_other(opened: OPEN, url: str) -> None:
    mine = await opened()
    other = child(WRITE_FOR_EVER, url, "theirs")
    try:
        for n in range(50):
            assert await mine.journal.commit("t", "mine", turn(n)) == Committed(n + 1)
        assert other.stdout
        seen = [int(await asyncio.to_thread(other.stdout.readline)) for _ in range(20)]
        thread = await mine.journal.hydrate("t", "theirs", window=500)
        assert seen == list(range(20))
        assert thread.version >= 20
        assert [m.seq for m in thread.messages] == list(range(1, thread.version + 1))
        assert await mine.journal.commit("t", "theirs", turn(100_001, version=5)) == Stale()
    finally:
        other.kill()
        other.communicate()


async def test_concurrent_writers_of_two_connections_commit_every_version_once(opened: OPEN) -> None:
    stores = [await opened(), await opened()]

    async def write(side: int) -> int:
        won = 0
        while (version := (await stores[side].journal.hydrate("t", "th", window=1)).version) < 60:
            commit = turn(version * 2 + side, version=version)
            won += await stores[side].journal.commit("t", "th", commit) == Committed(version + 1)
        return won

    assert sum(await asyncio.gather(write(0), write(1))) == 60


async def test_kill_in_the_middle_of_writing_leaves_every_acknowledged_turn_and_no_half_one(
    opened: OPEN, url: str, tmp_path: Path
) -> None:
    for attempt in range(3):
        thread = f"th{attempt}"
        writer = child(WRITE_FOR_EVER, url, thread)
        assert writer.stdout
        acknowledged = 0
        for _ in range(30 + 17 * attempt):
            acknowledged = int(await asyncio.to_thread(writer.stdout.readline)) + 1
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()  # with what was read ahead, which communicate() would drop
        writer.communicate()
        acknowledged += len([line for line in rest.split("\n")[:-1] if line])

        stores = await opened()
        stored = await stores.journal.hydrate("t", thread, window=100_000)
        assert stored.version in (acknowledged, acknowledged + 1)
        assert [m.seq for m in stored.messages] == list(range(1, stored.version + 1))
        for n in range(stored.version):
            assert await stores.journal.outputs_of("t", thread, f"i{n}") == b"x" * 2000
        assert await stores.journal.outputs_of("t", thread, f"i{stored.version}") is None
    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_lock_of_another_process_is_unavailable_in_words_and_passes(opened: OPEN, tmp_path: Path) -> None:
    stores = await opened(busy_timeout=0.2)
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another process") as caught:
        await stores.journal.commit("t", "th", turn(0))
    assert not isinstance(caught.value, OutcomeUnknown)
    assert (await stores.journal.hydrate("t", "th", window=1)).version == 0
    await stores.ping()
    holder.execute("COMMIT")
    holder.close()
    assert await stores.journal.commit("t", "th", turn(0)) == Committed(1)


async def test_short_lock_of_another_process_is_waited_for(opened: OPEN, tmp_path: Path) -> None:
    stores = await opened()
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    commits = [asyncio.create_task(stores.journal.commit("t", f"th{n}", turn(0))) for n in range(10)]
    assert (await stores.journal.hydrate("t", "th0", window=1)).version == 0
    holder.execute("COMMIT")
    holder.close()
    assert await asyncio.gather(*commits) == [Committed(1)] * 10


async def test_open_waits_for_a_file_that_is_held_exclusively(tmp_path: Path, url: str) -> None:
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    stores = open_stores(url, busy_timeout=0.05)
    opening = asyncio.create_task(stores.open())
    done, _ = await asyncio.wait([opening], timeout=0.5)
    assert not done
    holder.execute("COMMIT")
    holder.close()
    await asyncio.wait_for(opening, 120)
    await stores.close()


DISK_THAT_REFUSES = """
import asyncio, resource
from pathlib import Path
from test_sqlite_file import turn
from schemas import ServerTrouble
from state import Committed, open_stores

async def main(url, folder):
    stores = open_stores(url)
    await stores.open()
    await stores.migrate()
    assert await stores.journal.commit("t", "th", turn(0)) == Committed(1)
    largest = max(file.stat().st_size for file in Path(folder).iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 8192, resource.RLIM_INFINITY))
    written = 1
    try:
        while True:
            await stores.journal.commit("t", "th", turn(written, "x" * 3000))
            written += 1
    except ServerTrouble as error:
        print(error)
    thread = await stores.journal.hydrate("t", "th", window=1000)
    assert thread.version in (written, written + 1), (thread.version, written)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert await stores.journal.commit("t", "th", turn(thread.version)) == Committed(thread.version + 1)
    await stores.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_file_that_may_not_grow_is_unavailable_in_words_and_heals(url: str, tmp_path: Path) -> None:
    writer = child(DISK_THAT_REFUSES, url, str(tmp_path))
    out, errors = await asyncio.to_thread(writer.communicate)
    assert writer.returncode == 0, errors
    assert "Check the disk" in out or "disk is full" in out


async def test_disk_that_is_full_fails_only_what_it_could_not_take(opened: OPEN) -> None:
    stores = await opened()
    assert isinstance(stores, SqliteStores)
    # The page limit of a connection makes SQLite report the same as a file system without room: SQLITE_FULL.
    pages = await stores._writer.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await stores._writer.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 20}").fetchall())
    outcomes = await asyncio.gather(
        *(stores.journal.commit("t", f"th{n}", turn(0, "x" * 20_000)) for n in range(30)), return_exceptions=True
    )
    failed = [outcome for outcome in outcomes if outcome != Committed(1)]
    assert failed
    assert all(isinstance(outcome, Unavailable) and "disk is full" in str(outcome) for outcome in failed)
    for n, outcome in enumerate(outcomes):
        assert (await stores.journal.hydrate("t", f"th{n}", window=1)).version == (1 if outcome == Committed(1) else 0)
    await stores._writer.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchall())
    assert await stores.journal.commit("t", "after", turn(0)) == Committed(1)


async def test_read_only_file_is_unavailable_in_words(opened: OPEN, url: str, tmp_path: Path) -> None:
    stores = await opened()
    await stores.close()
    file = tmp_path / "state.db"
    # A file of a newer format may only be read (sqlite.org/fileformat.html, 1.3.3); unlike a mode, root obeys that too.
    content = bytearray(file.read_bytes())
    content[18] = 3
    file.write_bytes(bytes(content))
    with pytest.raises(Unavailable, match="read-only"):
        await _open_and_write(url)


async def test_damaged_file_is_unavailable_in_words(url: str, tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is no database at all" * 1000)
    with pytest.raises(Unavailable, match="damaged or no SQLite database"):
        await _open_and_write(url)


async def test_folder_that_cannot_be_made_is_unavailable_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be made"):
        await _open_and_write(f"sqlite://{tmp_path}/file/deeper")
    (tmp_path / "state.db").mkdir()
    with pytest.raises(Unavailable, match="cannot be opened"):
        await _open_and_write(f"sqlite://{tmp_path}")


async def _open_and_write(url: str) -> None:
    stores = open_stores(url)
    try:
        await stores.open()
        await stores.journal.commit("t", "th", turn(0))
    finally:
        await stores.close()


async def test_input_is_invisible_from_its_last_second_on_and_deleted_by_later_commits(opened: OPEN) -> None:
    clock = [NOON]
    stores = await opened(input_ttl=60, now=lambda: clock[0])
    assert isinstance(stores, SqliteStores)
    for n in range(20):
        await stores.journal.commit("t", "th", turn(n))
    clock[0] = NOON + timedelta(seconds=59.999999)
    assert await stores.journal.outputs_of("t", "th", "i0") == b"hello"
    clock[0] = NOON + timedelta(seconds=60)
    assert await stores.journal.outputs_of("t", "th", "i0") is None
    assert (await stores.journal.hydrate("t", "th", window=1, input_id="i0")).outputs is None

    rows = []
    for n in range(20, 24):
        await stores.journal.commit("t", "th", turn(n))
        rows.append(await stores._readers.run(lambda c: c.execute("SELECT count(*) FROM inputs").fetchone()[0]))
    assert rows == [13, 6, 3, 4]


async def test_write_whose_work_fails_takes_back_only_its_own_rows(opened: OPEN) -> None:
    stores = await opened()
    assert isinstance(stores, SqliteStores)

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO tenants (tenant_id, version, body) VALUES ('half', 1, '')")
        raise ZeroDivisionError

    outcomes = await asyncio.gather(
        stores.journal.commit("t", "th1", turn(0)),
        stores._writer.run(broken),
        stores.journal.commit("t", "th2", turn(0)),
        return_exceptions=True,
    )

    assert (outcomes[0], type(outcomes[1]), outcomes[2]) == (Committed(1), ZeroDivisionError, Committed(1))
    assert await stores.directory.tenants() == []


async def test_close_writes_what_was_queued_and_stores_can_be_opened_again(opened: OPEN) -> None:
    stores = await opened()
    tasks = [asyncio.create_task(stores.journal.commit("t", f"th{n}", turn(0))) for n in range(200)]
    await asyncio.sleep(0)
    await stores.close()
    assert await asyncio.gather(*tasks) == [Committed(1)] * 200
    with pytest.raises(Unavailable, match="not open"):
        await stores.ping()
    await stores.open()
    assert (await stores.journal.hydrate("t", "th199", window=1)).version == 1
    await stores.close()


async def test_bytes_written_a_turn_do_not_grow_with_the_conversation(opened: OPEN, tmp_path: Path) -> None:
    stores = await opened()
    # While a reader holds its snapshot the log is not begun anew: what is appended to it is what was written.
    reader = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM threads").fetchone()
    written, log = [], tmp_path / "state.db-wal"
    for n in range(260):
        before = log.stat().st_size
        assert await stores.journal.commit("t", "th", turn(n, "x" * 600)) == Committed(n + 1)
        written.append(log.stat().st_size - before)
    reader.execute("COMMIT")
    reader.close()
    # A page that is full splits in some turns and not in others: compare ten turns with ten.
    early, late = sum(written[3:13]), sum(written[245:255])
    assert late <= 1.2 * early, (early, late)
