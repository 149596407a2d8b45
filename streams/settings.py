"""What can be set about Kafka, topics and the embedded broker: `[kafka_access]`, `[partitions]` and `[broker]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from schemas.common.section import Section
from schemas.common.server_access import ServerAccess

if TYPE_CHECKING:
    from streams.kafka_servers import Kafka


class KafkaAccess(ServerAccess):
    """As whom Kafka is used, and over which TLS."""

    PREFIX: ClassVar[str] = "kafka"

    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(
        "SCRAM-SHA-512", description="how the name signs in; PLAIN sends the password itself, so use it over TLS only"
    )

    def servers(self, bootstrap: str) -> Kafka:
        """What clients of these servers take. Raises `SettingsError` when a file cannot be used."""
        from streams.kafka_servers import KafkaServers

        if not self.user and not self.tls:
            return bootstrap
        return KafkaServers(bootstrap, self.user, self.secret(), self.mechanism, self.tls_context())


class PartitionSettings(Section):
    """How many partitions topics have."""

    conversation: int = Field(8, ge=1, le=10_000, description="partitions of each conversation topic")
    tenant: int = Field(4, ge=1, le=10_000, description="partitions of each tenant topic")


class BrokerSettings(Section):
    """The embedded broker."""

    port: int = Field(0, ge=0, le=65_535, description="port of the embedded broker; 0 takes any free one")
