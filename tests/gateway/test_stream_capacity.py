"""Many streams at once: every one is kept open, and each reader gets its own agent's words, all of them and in order."""

from __future__ import annotations

import resource
from pathlib import Path

from door import Door, until_true

from bench.stream_capacity import follow, produce, readers
from cauce.running import connected
from cauce.settings import load_settings

QUIET, WRITTEN = 300, 30


async def test_streams_that_are_quiet_stay_open_beside_streams_that_are_written(door: Door) -> None:
    tenant = door.tenant()
    keys = [(tenant, door.key(tenant, f"u{n}")) for n in range(4)]
    kafka = connected(load_settings(environment=door.environment)).kafka_servers

    async with readers(door.url, keys, QUIET + WRITTEN) as held:
        await follow(held)
        written, quiet = held[:WRITTEN], held[WRITTEN:]

        await produce(kafka, written, 20, 3)

        async def all_came() -> bool:
            return all(reader.tokens == reader.sent for reader in written)

        async def all_were_told_twice_that_nothing_happens() -> bool:
            return all(reader.heartbeats >= 2 for reader in quiet)

        await until_true(all_came)
        assert all(len(reader.sent) == 60 for reader in written)
        await until_true(all_were_told_twice_that_nothing_happens, 120)
        assert all(reader.connection.is_open for reader in held)
        assert not any(reader.tokens for reader in quiet)


def test_gateway_takes_as_many_open_files_as_it_may(embedded: Door) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        with embedded.another() as gateway:
            limits = Path(f"/proc/{gateway.process.pid}/limits").read_text().splitlines()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    line = next(line for line in limits if line.startswith("Max open files"))
    taken = int(line.split()[3])
    assert taken == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))
