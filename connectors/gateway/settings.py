"""What can be set about the gateway: `[gateway]` and `[rate]`."""

from __future__ import annotations

from pydantic import Field

from schemas.common.section import Section


class GatewaySettings(Section):
    """Where it listens, and for whom."""

    host: str = Field("127.0.0.1", min_length=1, description="address that the gateway listens on")
    port: int | None = Field(
        None, ge=0, le=65_535, description="port of the gateway; by default 8123, or a free one if that is taken"
    )
    health_port: int = Field(0, ge=0, le=65_535, description="port of the gateway's health page; 0 takes any free one")
    langgraph_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="another port with the LangGraph API at its root, for clients that take no path",
    )
    connections_per_address: int = Field(
        4_000, ge=1, description="connections from one address; behind a proxy all of them come from the proxy's"
    )
    origins: str | None = Field(None, description="web origins of other pages that may call it, with commas")


class RateSettings(Section):
    """How often."""

    user: str = Field("1200/minute", description="requests of one user, such as 600/minute")
    tenant: str = Field("12000/minute", description="requests of one tenant")
    runs: str = Field("300/minute", description="messages of one user")
