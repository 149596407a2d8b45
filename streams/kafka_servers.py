"""Where Kafka is, and as whom its clients go there: the one place where clients of aiokafka and FastStream are made."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from schemas import CauceError, SettingsError, Unavailable

if TYPE_CHECKING:
    from faststream.kafka import KafkaBroker

_DIAGNOSIS_MS = 5_000
_UNAUTHORIZED = (
    (TopicAuthorizationFailedError, "to do this with a topic"),
    (GroupAuthorizationFailedError, "to use the consumer group"),
    (TransactionalIdAuthorizationFailed, "to use the transactional id"),
    (ClusterAuthorizationFailedError, "to do this in the cluster"),
)
_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


@dataclass(frozen=True, slots=True)
class KafkaServers:
    """Bootstrap servers (`host:port[,host:port]`) that want TLS, a password, or both. As text it is the addresses."""

    bootstrap: str
    user: str | None = None
    password: str = field(default="", repr=False)
    mechanism: str = "SCRAM-SHA-512"
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.mechanism not in _MECHANISMS:
            raise ValueError(f"the mechanism is one of {', '.join(_MECHANISMS)}")

    def __str__(self) -> str:
        return self.bootstrap


Kafka = str | KafkaServers
"""What functions take that talk to Kafka: its addresses alone where nothing else is needed."""


def client_options(kafka: Kafka) -> dict[str, Any]:
    """Arguments of aiokafka's clients, also for programs that use aiokafka themselves."""
    if isinstance(kafka, str):
        return {"bootstrap_servers": kafka}
    protocol = ("SASL_" if kafka.user else "") + ("SSL" if kafka.tls else "PLAINTEXT")
    options: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap, "security_protocol": protocol}
    if kafka.tls:
        options["ssl_context"] = kafka.tls
    if kafka.user:
        options |= {
            "sasl_mechanism": kafka.mechanism,
            "sasl_plain_username": kafka.user,
            "sasl_plain_password": kafka.password,
        }
    return options


def new_consumer(*topics: str, bootstrap_servers: Kafka, **options: Any) -> AIOKafkaConsumer:
    """A consumer that was not started."""
    return AIOKafkaConsumer(*topics, **client_options(bootstrap_servers), **options)


def new_producer(*, bootstrap_servers: Kafka, **options: Any) -> AIOKafkaProducer:
    """A producer that was not started."""
    return AIOKafkaProducer(**client_options(bootstrap_servers), **options)


def new_admin(*, bootstrap_servers: Kafka, **options: Any) -> AIOKafkaAdminClient:
    """An admin client that was not started."""
    return AIOKafkaAdminClient(**client_options(bootstrap_servers), **options)


def new_client(*, bootstrap_servers: Kafka, **options: Any) -> AIOKafkaClient:
    """Connections alone, for requests of our own."""
    return AIOKafkaClient(**client_options(bootstrap_servers), **options)


def new_faststream_broker(kafka: Kafka, **options: Any) -> KafkaBroker:
    """FastStream's broker, which makes the consumers of workers."""
    from faststream import security
    from faststream.kafka import KafkaBroker

    if isinstance(kafka, str):
        return KafkaBroker(kafka, **options)
    kinds = dict(zip(_MECHANISMS, (security.SASLScram512, security.SASLScram256, security.SASLPlaintext), strict=True))
    access = (
        kinds[kafka.mechanism](kafka.user, kafka.password, ssl_context=kafka.tls, use_ssl=kafka.tls is not None)
        if kafka.user
        else security.BaseSecurity(ssl_context=kafka.tls, use_ssl=kafka.tls is not None)
    )
    return KafkaBroker(kafka.bootstrap, security=access, **options)


@asynccontextmanager
async def answering(kafka: Kafka) -> AsyncIterator[None]:
    """Raises what `trouble_with` makes of a `KafkaError` of the block."""
    try:
        yield
    except KafkaError as error:
        raise await trouble_with(kafka, error) from error


async def trouble_with(kafka: Kafka, error: KafkaError) -> CauceError:
    """What a client's error means.

    `SettingsError`: Kafka does not let us in, or the settings do not fit its ports, and trying again does not help.
    `Unavailable`: everything else; also where it lets us in and we may not do this. aiokafka only says that it found no server,
    so this asks one why.
    """
    if refused := not_allowed(kafka, error):
        return refused
    if isinstance(error, KafkaConnectionError) and (why := await _refusal(kafka)):
        return SettingsError(f"Kafka at {kafka} {why}")
    return Unavailable(f"Kafka at {kafka} does not answer: {error}")


def not_allowed(kafka: Kafka, error: KafkaError) -> Unavailable | None:
    """What an error means that says that the user may not do this; None for another error."""
    what = next((action for kind, action in _UNAUTHORIZED if isinstance(error, kind)), None)
    if what is None:
        return None
    detail = ", ".join(map(str, error.args)) or type(error).__name__
    return Unavailable(
        f"Kafka at {kafka} does not allow {_who(kafka)} {what} ({detail}); "
        "what each role needs is printed by: cauce topics acls"
    )


def _who(kafka: Kafka) -> str:
    return f"the user {kafka.user}" if isinstance(kafka, KafkaServers) and kafka.user else "clients without a password"


async def _refusal(kafka: Kafka) -> str | None:
    """Why the servers do not let us in, or None where they do, or are not there."""
    options = client_options(kafka)
    for server in str(kafka).split(","):
        host, _, port = server.strip().rpartition(":")
        connection = {name: value for name, value in options.items() if name != "bootstrap_servers"}
        try:
            opened = await create_conn(host.strip("[]"), int(port), request_timeout_ms=_DIAGNOSIS_MS, **connection)
            try:
                await opened.send(MetadataRequest([]))  # what is asked before is answered to everybody
            finally:
                opened.close()
        except (SaslAuthenticationFailed, AuthenticationFailedError):
            return f"refuses the name or the password of {_who(kafka)}; see kafka_user and kafka_password_file"
        except (UnsupportedSaslMechanismError, IllegalSaslStateError) as error:
            return f"does not sign users in this way: {error}; see kafka_mechanism"
        except ssl.SSLCertVerificationError as error:
            return f"has a certificate that is not trusted: {error.verify_message}; see kafka_ca_file"
        except ssl.SSLError as error:
            return f"does not agree on TLS ({error.reason or error}); see kafka_tls, kafka_cert_file and kafka_key_file"
        except ValueError as error:  # of aiokafka's SCRAM: the other side does not know the password either
            return f"cannot prove that it knows the password of {_who(kafka)} ({error})"
        except KafkaError:
            # A server that wants TLS or a password closes the connection of a client that brings neither.
            return await _closes(kafka, host, int(port))
        except OSError:
            continue
        return None
    return None


async def _closes(kafka: Kafka, host: str, port: int) -> str | None:
    """The reason of a server that takes connections and closes ours immediately: it wants what we do not bring."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), port), _DIAGNOSIS_MS / 1000)
    except (OSError, TimeoutError):
        return None
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    tls = isinstance(kafka, KafkaServers) and kafka.tls
    wants = "another way of signing in" if tls else "TLS or a password"
    names = "kafka_tls, kafka_user, kafka_password_file and kafka_cert_file"
    return f"closes the connection of {_who(kafka)}: it wants {wants}; see {names}"
