from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError
from cassandra.cluster import Cluster

from deploy.cluster import CassandraServer, ClusterError, KafkaServer
from deploy.cluster.process import HOST, free_port, is_free

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def admin(server: KafkaServer, request_timeout_ms: int = 20_000) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap, request_timeout_ms=request_timeout_ms)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


async def create_topic(server: KafkaServer, topic: str) -> None:
    async with admin(server) as client:
        await client.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])


async def topics_of(server: KafkaServer) -> list[str]:
    async with admin(server) as client:
        return list(await client.list_topics())


def cql(server: CassandraServer, *statements: str) -> list[tuple[object, ...]]:
    """Runs the statements; the rows of the last one."""
    cluster = Cluster([server.contact_point], port=server.port, protocol_version=5)
    try:
        session = cluster.connect()
        results = [session.execute(statement) for statement in statements]
        return [tuple(row) for row in results[-1]]
    finally:
        cluster.shutdown()


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def test_free_port_is_below_the_ports_of_outgoing_connections() -> None:
    port = free_port()
    assert 20_000 <= port < 32_000
    assert is_free(port)


async def test_kafka_keeps_its_topics_over_restart_and_kill(apache_kafka: KafkaServer) -> None:
    await create_topic(apache_kafka, "kept-over-restart")
    address, first_pid = apache_kafka.bootstrap, apache_kafka.pid

    await asyncio.to_thread(apache_kafka.restart)
    assert apache_kafka.pid != first_pid
    assert apache_kafka.bootstrap == address
    await create_topic(apache_kafka, "kept-over-kill")

    apache_kafka.kill()
    gone = not apache_kafka.running and is_free(apache_kafka.port)
    await asyncio.to_thread(apache_kafka.start)
    assert gone
    assert {"kept-over-restart", "kept-over-kill"} <= set(await topics_of(apache_kafka))


def test_cassandra_keeps_its_rows_over_restart_and_kill(durable_cassandra: CassandraServer) -> None:
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    cql(
        durable_cassandra,
        f"CREATE KEYSPACE kept WITH replication = {replication}",
        "CREATE TABLE kept.rows (id int PRIMARY KEY)",
        "INSERT INTO kept.rows (id) VALUES (1)",
    )
    first_pid, port = durable_cassandra.pid, durable_cassandra.port

    durable_cassandra.restart()
    assert (durable_cassandra.pid != first_pid, durable_cassandra.port) == (True, port)
    cql(durable_cassandra, "INSERT INTO kept.rows (id) VALUES (2)")

    durable_cassandra.kill()
    gone = not durable_cassandra.running and is_free(durable_cassandra.port)
    durable_cassandra.start()
    assert gone
    assert sorted(cql(durable_cassandra, "SELECT id FROM kept.rows")) == [(1,), (2,)]


async def test_paused_server_answers_nothing_until_it_is_resumed(apache_kafka: KafkaServer) -> None:
    apache_kafka.pause()
    try:
        assert apache_kafka.running
        with pytest.raises(KafkaConnectionError):
            async with admin(apache_kafka, request_timeout_ms=500):
                pass
    finally:
        apache_kafka.resume()
    assert isinstance(await topics_of(apache_kafka), list)


def test_second_start_of_a_running_server_is_refused(apache_kafka: KafkaServer) -> None:
    with pytest.raises(ClusterError, match="already running"):
        apache_kafka.start()
    assert apache_kafka.running


def test_start_on_a_taken_port_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, free_port()))
        taken.listen()
        server = KafkaServer(tmp_path, taken.getsockname()[1])
        with pytest.raises(ClusterError, match="choose another port"):
            server.start()
    assert not server.running


def test_failed_start_quotes_the_log_and_leaves_no_process(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\ncluster.id=other\nnode.id=7\n")
    with pytest.raises(ClusterError, match=r"(?s)ended with exit code 1 .*Stored node id 7") as failure:
        server.start()
    assert str(server.log_path) in str(failure.value)
    assert not server.running
    with pytest.raises(ClusterError, match="not running"):
        _ = server.pid


def test_stop_and_kill_of_a_server_that_never_ran_do_nothing(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path)
    server.stop()
    server.kill()
    assert not server.running


def test_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from deploy.cluster import KafkaServer\n"
        "server = KafkaServer(pathlib.Path(sys.argv[1])).start()\n"
        "print(server.port, flush=True)\n"
        "time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", script, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert starter.stdout is not None
        port = int(starter.stdout.readline())
        assert not is_free(port)
    finally:
        starter.kill()
        starter.communicate()
    wait_until(lambda: is_free(port), 120)


def test_command_starts_both_servers_and_stops_them_at_an_interrupt(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    command = subprocess.Popen(
        [
            *(sys.executable, "-m", "deploy.cluster"),
            f"--kafka-port={ports[0]}",
            f"--cassandra-port={ports[1]}",
            f"--data={tmp_path}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert command.stdout is not None
        for line in command.stdout:
            if "export" in line:
                break
        assert line.strip() == f"export CAUCE_KAFKA={HOST}:{ports[0]} CAUCE_CASSANDRA={HOST}:{ports[1]}"
        assert not any(is_free(port) for port in ports)
        os.kill(command.pid, signal.SIGINT)
        command.communicate(timeout=120)
        assert command.returncode == 0
        assert all(is_free(port) for port in ports)
    finally:
        command.kill()
        command.communicate()
