"""What a server wants of its clients: TLS, a password, a certificate."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.cluster.certificates import STORE_PASSWORD, Authority
from deploy.cluster.process import HOST

OPEN_CASSANDRA = "authenticator: AllowAllAuthenticator\nauthorizer: AllowAllAuthorizer"
"""Lines of `cassandra.yaml` of a server that lets everybody in."""


class Guard:
    """TLS with certificates of a new authority, and users of Kafka with their passwords; `admin` is one of them, and may do all.

    `authority.issue(name)` makes certificates for clients, which servers require with `client_certificates`.
    """

    def __init__(self, folder: Path, users: Mapping[str, str], *, client_certificates: bool = False) -> None:
        if "admin" not in users:
            raise ValueError("the users need one called admin")
        self.authority = Authority(folder)
        self.users, self.client_certificates = dict(users), client_certificates
        self._server = self.authority.issue("server")
        self._own = self.authority.issue("looking")

    def kafka_properties(self) -> str:
        """Lines of `server.properties`. KIP-651 has the PEM files, KIP-801 the authorizer."""
        jaas = (
            "org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="admin" password="{self.users["admin"]}";'
        )
        return "\n".join(
            (
                "sasl.enabled.mechanisms=SCRAM-SHA-512",
                "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
                f"listener.name.clients.scram-sha-512.sasl.jaas.config={jaas}",
                "ssl.keystore.type=PEM",
                f"ssl.keystore.location={self._server.java_pem}",
                "ssl.truststore.type=PEM",
                f"ssl.truststore.location={self.authority.ca}",
                # SASL_SSL takes it from its own listener alone (KIP-684).
                f"listener.name.clients.ssl.client.auth={'required' if self.client_certificates else 'none'}",
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                # Nobody is anonymous where clients sign in; the controller's listener has this process alone.
                "super.users=User:admin;User:ANONYMOUS",
            )
        )

    def scram_arguments(self) -> tuple[str, ...]:
        """Arguments of `kafka-storage format` for the users (KIP-900)."""
        return tuple(
            f"--add-scram=SCRAM-SHA-512=[name={name},password={password}]" for name, password in self.users.items()
        )

    def cassandra_yaml(self) -> str:
        """Lines of `cassandra.yaml`."""
        wanted = str(self.client_certificates).lower()
        return "\n".join(
            (
                "authenticator: PasswordAuthenticator",
                "authorizer: CassandraAuthorizer",
                "role_manager: CassandraRoleManager",
                "client_encryption_options:",
                "  enabled: true",
                "  optional: false",
                f"  keystore: {self._server.java_keystore}",
                f"  keystore_password: {STORE_PASSWORD}",
                f"  require_client_auth: {wanted}",
                f"  truststore: {self.authority.java_truststore}",
                f"  truststore_password: {STORE_PASSWORD}",
                "  store_type: PKCS12",
            )
        )

    @contextmanager
    def connected(self, port: int, seconds: float) -> Iterator[ssl.SSLSocket]:
        """A TLS connection. Raises `OSError` when there is none in time."""
        context = ssl.create_default_context(cafile=self.authority.ca)
        context.load_cert_chain(self._own.chain, self._own.key)
        with (
            socket.create_connection((HOST, port), seconds) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as client,
        ):
            yield client
