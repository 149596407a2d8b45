"""What can be set about the connection to Cassandra: `[cassandra_access]`.

Not in `state`, whose other files no command needs that only reads settings.
"""

from __future__ import annotations

from typing import Any, ClassVar

from schemas.common.server_access import ServerAccess


class CassandraAccess(ServerAccess):
    """As whom Cassandra is used, and over which TLS."""

    PREFIX: ClassVar[str] = "cassandra"

    def options(self) -> dict[str, Any]:
        """Options of `state.open_stores`. Raises `SettingsError` when a file cannot be used."""
        signed_in = {"username": self.user, "password": self.secret()} if self.user else {}
        return {**signed_in, **({"tls": self.tls_context()} if self.tls else {})}
