"""How the driver is set up, and a connection attempt that can be left alone."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, TokenAwarePolicy
from cassandra.query import dict_factory, tuple_factory

from state.cassandra.retries import IdempotentOnly
from state.stores.journal import INPUT_TTL

CONDITIONAL_PROFILE = "conditional"
"""Rows as dictionaries: a refused conditional statement returns other columns than an applied one."""


@dataclass(frozen=True, slots=True)
class CassandraOptions:
    """Where the cluster is and how it is used."""

    hosts: tuple[str, ...]
    keyspace: str
    port: int = 9042
    dc: str | None = None
    """The data centre whose replicas are asked; the one of the first host when absent."""
    rf: int = 1
    """Replicas a data centre, used when `migrate` makes the keyspace."""
    request_timeout: float = 5.0
    """Seconds that an answer is waited for."""
    in_flight: int = 256
    """Requests under way at most. The driver blocks the event loop when the 32,768 of a connection are used up."""
    input_ttl: float = INPUT_TTL
    """Seconds that the outputs of processed inputs are kept."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """Where it checks host names, a node's certificate has to have the address by which Cassandra knows it."""

    @property
    def replication(self) -> str:
        """The keyspace's replication, as CQL."""
        scope = "replication_factor" if self.dc is None else self.dc
        return f"{{'class': 'NetworkTopologyStrategy', '{scope}': {self.rf}}}"


class Attempt:
    """One attempt to connect, for a thread. Abandoned, it closes what it still opens."""

    def __init__(self, options: CassandraOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._abandoned = False
        self._cluster: Any = None

    def run(self) -> tuple[Any, Any]:
        """The driver's cluster and session. Blocks; raises the driver's errors."""
        cluster = _cluster(self._options)
        try:
            session = cluster.connect()
            with self._lock:
                self._cluster = None if self._abandoned else cluster
            if self._cluster is None:
                cluster.shutdown()
        except BaseException:
            cluster.shutdown()
            raise
        return cluster, session

    def abandon(self) -> None:
        """Closes what was opened, or will be, without waiting for it."""
        with self._lock:
            self._abandoned = True
            opened, self._cluster = self._cluster, None
        if opened is not None:
            threading.Thread(target=opened.shutdown, daemon=True).start()


def _cluster(options: CassandraOptions) -> Any:
    profile = {
        "load_balancing_policy": TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=options.dc or "")),
        "retry_policy": IdempotentOnly(),
        "consistency_level": ConsistencyLevel.LOCAL_QUORUM,
        "serial_consistency_level": ConsistencyLevel.LOCAL_SERIAL,
        "request_timeout": options.request_timeout,
    }
    return Cluster(
        list(options.hosts),
        port=options.port,
        protocol_version=5,
        connection_class=LibevConnection,
        ssl_context=options.tls,
        auth_provider=options.username and PlainTextAuthProvider(options.username, options.password or ""),
        execution_profiles={
            EXEC_PROFILE_DEFAULT: ExecutionProfile(row_factory=tuple_factory, **profile),
            CONDITIONAL_PROFILE: ExecutionProfile(row_factory=dict_factory, **profile),
        },
        # The driver's default gives up after 64 attempts and waits up to ten minutes between two.
        reconnection_policy=ExponentialReconnectionPolicy(0.2, 2.0, max_attempts=None),
        # A frozen server is found out after four seconds; with the default of 30 it takes a minute.
        idle_heartbeat_interval=2,
        idle_heartbeat_timeout=2,
        connect_timeout=2,
        # The driver writes a large request in pieces of 4 KB, and the last one would wait 40 ms for a delayed ACK.
        sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        control_connection_timeout=2,
        monitor_reporting_enabled=False,
    )
