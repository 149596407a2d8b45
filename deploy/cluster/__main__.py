"""`python -m deploy.cluster`: Kafka and Cassandra in the foreground until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import FrameType

from deploy.cluster import CassandraServer, ClusterError, KafkaServer, fetch_jars, find_java
from deploy.cluster.process import ServerProcess

_ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0 after Ctrl-C or SIGTERM, 1 when a server failed."""
    options = _parse(arguments)
    try:
        if options.fetch_only:
            find_java()
            for files in (KafkaServer.files, CassandraServer.files):
                fetch_jars(files / "pom.xml")
            return 0
        kafka = KafkaServer(options.data / "kafka", options.kafka_port)
        cassandra = CassandraServer(options.data / "cassandra", options.cassandra_port)
        return _run(kafka, cassandra)
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.cluster",
        description="Starts Apache Kafka and Apache Cassandra on 127.0.0.1 and stops them at Ctrl-C.",
    )
    parser.add_argument("--kafka-port", type=int, default=19092, help="default: %(default)s")
    parser.add_argument("--cassandra-port", type=int, default=19042, help="default: %(default)s")
    parser.add_argument("--data", type=Path, default=_ROOT / "var" / "cluster", help="default: var/cluster")
    parser.add_argument(
        "--fetch-only", action="store_true", help="install Java and fetch the jars if necessary, but start nothing"
    )
    return parser.parse_args(arguments)


def _run(kafka: KafkaServer, cassandra: CassandraServer) -> int:
    interrupts: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        interrupts.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    servers: tuple[ServerProcess, ...] = (kafka, cassandra)
    with ThreadPoolExecutor(len(servers)) as threads:
        _say("Starting Kafka and Cassandra, about 10 s ...")
        starts = [threads.submit(_start, server) for server in servers]
        try:
            _wait_for(starts, lambda: bool(interrupts))
            if interrupts:
                return 0
            _say(_READY.format(kafka=kafka.address, cassandra=cassandra.address))
            return _watch(servers, lambda: bool(interrupts))
        finally:
            _abandon(starts, servers)
            # Only Ctrl-C counts: make forwards a SIGTERM, so one sent to the whole process group arrives twice.
            _end(servers, threads, lambda: interrupts.count(signal.SIGINT) > 1)


_READY = """
Kafka        {kafka}
Cassandra    {cassandra}

In another terminal:
    export CAUCE_KAFKA={kafka} CAUCE_CASSANDRA={cassandra}

Ctrl-C stops both; their data is kept."""


def _start(server: ServerProcess) -> None:
    started = time.monotonic()
    server.start()
    _say(f"{server.name} answers after {time.monotonic() - started:.1f} s (log: {server.log_path})")


def _wait_for(starts: list[Future[None]], interrupted: Callable[[], bool]) -> None:
    pending = set(starts)
    while pending and not interrupted():
        done, pending = wait(pending, timeout=0.1)
        for start in done:
            start.result()


def _watch(servers: Sequence[ServerProcess], interrupted: Callable[[], bool]) -> int:
    while not interrupted():
        for server in servers:
            if not server.running:
                sys.stderr.write(f"{server.name} exited unexpectedly; its log: {server.log_path}\n")
                return 1
        time.sleep(0.2)
    return 0


def _abandon(starts: list[Future[None]], servers: Sequence[ServerProcess]) -> None:
    """Aborts starts in progress: until it answers, a server has nothing that a graceful stop would save."""
    pending = set(starts)
    while pending:
        for server, start in zip(servers, starts, strict=True):
            if not start.done():
                server.kill()
        _, pending = wait(pending, timeout=0.1)


def _end(servers: Sequence[ServerProcess], threads: ThreadPoolExecutor, impatient: Callable[[], bool]) -> None:
    """Stops all servers concurrently; a second Ctrl-C kills them."""
    if any(server.running for server in servers):
        _say("\nStopping; Ctrl-C again kills ...")
    pending = {threads.submit(server.stop) for server in servers}
    while pending:
        _, pending = wait(pending, timeout=0.1)
        if impatient():
            for server in servers:
                server.kill()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
