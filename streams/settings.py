"""What can be set about topics and the embedded broker: `[partitions]` and `[broker]`."""

from __future__ import annotations

from pydantic import Field

from schemas.common.section import Section


class PartitionSettings(Section):
    """How many partitions topics have."""

    conversation: int = Field(8, ge=1, le=10_000, description="partitions of each conversation topic")
    tenant: int = Field(4, ge=1, le=10_000, description="partitions of each tenant topic")


class BrokerSettings(Section):
    """The embedded broker."""

    port: int = Field(0, ge=0, le=65_535, description="port of the embedded broker; 0 takes any free one")
