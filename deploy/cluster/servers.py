"""Apache Kafka and Apache Cassandra, each as a single node."""

from __future__ import annotations

import base64
import secrets
import shlex
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from string import Template

from deploy.cluster.errors import ClusterError, last_lines
from deploy.cluster.guard import OPEN_CASSANDRA, Guard
from deploy.cluster.jars import fetch_jars
from deploy.cluster.java import find_java
from deploy.cluster.process import HOST, ServerProcess, free_port

_HERE = Path(__file__).resolve().parent
QUICK_COMPILER = ("-XX:TieredStopAtLevel=1",)
_ANSWER_TIMEOUT = 2.0  # seconds; a running server answers these requests in milliseconds


class KafkaServer(ServerProcess):
    """Apache Kafka in KRaft mode, broker and controller in one process, without automatic topic creation."""

    name = "Apache Kafka"
    files = _HERE / "kafka"

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        *,
        controller_port: int = 0,
        heap: str = "512m",
        short_lived: bool = True,
        proxied: Sequence[tuple[int, int]] = (),
        guard: Guard | None = None,
    ) -> None:
        """Listens for clients on `port`; `heap` is the JVM's maximum heap. A port of 0 means any free one.

        `short_lived` leaves out the optimising compiler: for the first minutes it uses more CPU than it saves.
        `proxied` are further ports to listen on, each with the port of a proxy: clients that connect through the proxy get
        its port as the broker's address, and stay on it. With a `guard` clients need TLS and a password (SCRAM-SHA-512), and
        access control lists decide what they may do; the guard's administrator may do everything.
        """
        super().__init__(data_dir, port)
        self._guard_of_clients = guard
        self._proxied = dict(proxied)
        self.controller_port = controller_port or free_port()
        self.heap, self._compiler = heap, QUICK_COMPILER if short_lived else ()

    @property
    def bootstrap(self) -> str:
        """The value of `bootstrap_servers` for clients."""
        return self.address

    def _prepare(self) -> list[str]:
        storage, guard = self.data_dir / "data", self._guard_of_clients
        config = _write_from_template(
            self.files / "server.properties",
            self.data_dir,
            {
                "DATA_DIR": storage,
                "PORT": self.port,
                "CONTROLLER_PORT": self.controller_port,
                "LISTENERS": "".join(f",P{n}://127.0.0.1:{n}" for n in self._proxied),
                "ADVERTISED": "".join(f",P{n}://127.0.0.1:{proxy}" for n, proxy in self._proxied.items()),
                "PROTOCOLS": "".join(f",P{n}:PLAINTEXT" for n in self._proxied),
                "CLIENTS": "SASL_SSL" if guard else "PLAINTEXT",
                "GUARD": guard.kafka_properties() if guard else "",
            },
        )
        java = [
            str(find_java()),
            *("-cp", f"{fetch_jars(self.files / 'pom.xml')}/*"),
            f"-Dlog4j2.configurationFile={self.files / 'log4j2.xml'}",
        ]
        if not (storage / "meta.properties").exists():
            _format_storage(java, config, guard.scram_arguments() if guard else ())
        return [
            *java,
            *self._compiler,
            "-Xms256m",
            f"-Xmx{self.heap}",
            "-XX:+ExitOnOutOfMemoryError",
            "kafka.Kafka",
            str(config),
        ]

    def _answers(self) -> bool:
        """Requests metadata about no topic and looks for a broker in it: one that is still fenced is not listed.

        Protocol: https://kafka.apache.org/protocol#The_Messages_Metadata, request and response version 1.
        """
        metadata, version, correlation, no_client_id, no_topics = 3, 1, 1, -1, 0
        body = struct.pack(">hhihi", metadata, version, correlation, no_client_id, no_topics)
        if self._guard_of_clients:  # metadata is for those who sign in; that the port speaks TLS has to be enough
            with self._guard_of_clients.connected(self.port, _ANSWER_TIMEOUT):
                return True
        with socket.create_connection((HOST, self.port), _ANSWER_TIMEOUT) as client:
            client.sendall(struct.pack(">i", len(body)) + body)
            _, _, brokers = struct.unpack(">iii", _receive(client, 12))
        return bool(brokers > 0)


class CassandraServer(ServerProcess):
    """Apache Cassandra as a cluster of one node."""

    name = "Apache Cassandra"
    # Between two requests its threads sleep 10 microseconds again and again (SEPWorker.doWaitSpin): at a few hundred requests a
    # second that costs as much CPU as the requests, on the cores that tests and workers share with it.
    timer_slack = 1_000_000
    files = _HERE / "cassandra"

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        *,
        storage_port: int = 0,
        heap: str = "1g",
        survives_kill: bool = True,
        short_lived: bool = True,
        guard: Guard | None = None,
    ) -> None:
        """Listens for CQL on `port`; `heap` and `short_lived` are as for Kafka. A port of 0 means any free one.

        With a `guard` clients need TLS, a certificate of the guard's authority if the guard requires one, and a password; at
        first there is the user `cassandra` with the password `cassandra`.

        There is no replica to recover lost writes from. With `survives_kill`, a write is on disk before it is acknowledged
        (`commitlog_sync: batch`). Without it, Cassandra's default applies, which assumes replicas: `kill -9` loses the
        acknowledged writes of the last 100 ms (commitlog_marker_period). It also loses newly created tables, because their
        definitions are not flushed each time (SchemaKeyspace.flush), which takes most of the time of creating one.
        """
        super().__init__(data_dir, port)
        self.storage_port = storage_port or free_port()
        self._guard_of_clients = guard
        self.heap, self._compiler = heap, QUICK_COMPILER if short_lived else ()
        self._commitlog = "batch" if survives_kill else "periodic\ncommitlog_sync_period: 10s"
        self._unflushed = () if survives_kill else ("-Dcassandra.test.flush_local_schema_changes=false",)

    @property
    def contact_point(self) -> str:
        """The host, for `Cluster([server.contact_point], port=server.port)`."""
        return HOST

    def _prepare(self) -> list[str]:
        config = _write_from_template(
            self.files / "cassandra.yaml",
            self.data_dir,
            {
                "DATA_DIR": self.data_dir / "data",
                "PORT": self.port,
                "STORAGE_PORT": self.storage_port,
                "COMMITLOG_SYNC": f"commitlog_sync: {self._commitlog}",
                "GUARD": self._guard_of_clients.cassandra_yaml() if self._guard_of_clients else OPEN_CASSANDRA,
            },
        )
        return [
            str(find_java()),
            *self._compiler,
            *("-Xms512m", f"-Xmx{self.heap}", "-XX:+ExitOnOutOfMemoryError"),
            *shlex.split((self.files / "jvm.options").read_text(), comments=True),
            *self._unflushed,
            f"-Dcassandra.config={config.as_uri()}",
            f"-Dcassandra.storagedir={self.data_dir / 'data'}",
            f"-Dlogback.configurationFile={self.files / 'logback.xml'}",
            *("-cp", f"{fetch_jars(self.files / 'pom.xml')}/*"),
            *(("-Dcassandra.superuser_setup_delay_ms=0",) if self._guard_of_clients else ()),
            "org.apache.cassandra.service.CassandraDaemon",
        ]

    def _answers(self) -> bool:
        """Sends OPTIONS and looks for SUPPORTED (CQL binary protocol v5, sections 4.1.3 and 4.2.4)."""
        version, options, supported = 5, 0x05, 0x06
        guard = self._guard_of_clients
        opened = guard.connected(self.port, _ANSWER_TIMEOUT) if guard else _connected(self.port)
        with opened as client:
            client.sendall(struct.pack(">BBhBi", version, 0, 0, options, 0))
            _, _, _, opcode, _ = struct.unpack(">BBhBi", _receive(client, 9))
        return bool(opcode == supported)


def _write_from_template(template: Path, folder: Path, values: dict[str, object]) -> Path:
    config = folder / template.name
    config.write_text(Template(template.read_text()).substitute(values))
    return config


def _format_storage(java: list[str], config: Path, more: Sequence[str]) -> None:
    cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
    quick = (*QUICK_COMPILER, "-XX:+UseSerialGC")
    arguments = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", f"--config={config}", *more)
    run = subprocess.run(
        [*java, *quick, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise ClusterError(
            f"Apache Kafka could not format its storage (exit code {run.returncode}):\n{last_lines(run.stdout)}"
        )


def _connected(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), _ANSWER_TIMEOUT)


def _receive(client: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = client.recv(size - len(received))
        if not part:
            raise ConnectionError("the server closed the connection")
        received += part
    return received
