"""What can be set about the gateway: `[gateway]`, `[rate]` and `[redis_access]`."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from schemas import SettingsError
from schemas.common.section import HttpUrl, Section
from schemas.common.secure_urls import is_secure_url
from schemas.common.server_access import ServerAccess, no_password, why_unusable


def _origin(value: str | None) -> str | None:
    if value and not is_secure_url(value):
        raise ValueError("it must begin with https://, except on this machine")
    if value and value.count("/") > 2:
        raise ValueError("it must be an address without a path, such as https://cauce.example")
    return value


PublicUrl = Annotated[HttpUrl, AfterValidator(_origin)]


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
    public_url: PublicUrl = Field(
        None,
        description="address at which browsers reach it, such as https://cauce.example; cookies and redirects follow it",
    )
    session_hours: float = Field(12, gt=0, le=720, description="longest life of a browser session, in hours")
    session_idle_hours: float = Field(2, gt=0, le=720, description="hours after which an unused browser session ends")
    cert_file: Path | None = Field(
        None, description="PEM file with the gateway's certificate and its chain; it then speaks HTTPS, on both ports"
    )
    key_file: Path | None = Field(None, description="PEM file with its private key; not needed when in the same file")
    tls_minimum: Literal["1.2", "1.3"] = Field(
        "1.2", description="oldest TLS that callers may use; 1.3 is offered always"
    )
    trusted_proxies: str | None = Field(
        None,
        description="networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, with commas, such as "
        "10.0.0.0/8, ::1",
    )
    origins: str | None = Field(None, description="web origins of other pages that may call it, with commas")

    def tls_context(self) -> ssl.SSLContext | None:
        """What its ports speak, or None for plain HTTP. Raises `SettingsError` when a file cannot be used."""
        if not self.cert_file:
            if self.key_file:
                raise SettingsError("gateway_key_file has no use without gateway_cert_file")
            return None
        minimum = ssl.TLSVersion.TLSv1_3 if self.tls_minimum == "1.3" else ssl.TLSVersion.TLSv1_2
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = minimum
            context.set_alpn_protocols(["http/1.1"])
            context.load_cert_chain(self.cert_file, self.key_file, password=no_password)
        except OSError as error:
            shown = f"{self.cert_file} (key: {self.key_file or 'in it'})"
            raise SettingsError(f"gateway_cert_file {shown} cannot be used: {why_unusable(error)}") from error
        return context


class RedisAccess(ServerAccess):
    """As whom Redis is used, and over which TLS."""

    PREFIX: ClassVar[str] = "redis"
    NAMELESS: ClassVar[bool] = True

    def store(self, redis: str | None) -> tuple[str, dict[str, Any]]:
        """Where rates are counted: a URL, and arguments of Redis' client. Raises `SettingsError` when a file cannot be used."""
        options: dict[str, Any] = {}
        if not redis:
            return "memory://", options
        if self.user:
            options["username"] = self.user
        if secret := self.secret():
            options["password"] = secret
        if self.tls_context():  # its files are read now, so that a wrong one is reported before anything runs
            files = {"ssl_ca_certs": self.ca_file, "ssl_certfile": self.cert_file, "ssl_keyfile": self.key_file}
            options |= {name: str(path) for name, path in files.items() if path}
            options |= {"ssl_check_hostname": self.check_host, "ssl_min_version": ssl.TLSVersion.TLSv1_2}
        return redis.replace("redis://", "rediss://", 1) if self.tls else redis, options


class QuotaSettings(Section):
    """How much a user or a tenant may keep; what is beyond is refused (`403 quota_exceeded`)."""

    threads: int = Field(10_000, ge=1, description="threads of a user")
    items: int = Field(10_000, ge=1, description="items of a user")
    item_bytes: int = Field(64 << 20, ge=1, description="bytes of all items of a user")
    assistants: int = Field(1_000, ge=1, description="assistants of a tenant")
    assistant_versions: int = Field(200, ge=1, description="versions of an assistant")
    assistant_bytes: int = Field(256 << 10, ge=1, description="bytes of one version of an assistant")


class RateSettings(Section):
    """How often."""

    user: str = Field("1200/minute", description="requests of one user, such as 600/minute")
    tenant: str = Field("12000/minute", description="requests of one tenant")
    runs: str = Field("300/minute", description="runs that one user starts or continues")
    strangers: str = Field(
        "600/minute",
        description="requests without a valid credential from one address; 20 times as many from this machine",
    )
