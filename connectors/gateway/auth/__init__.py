"""Who is calling: tenant and user come from the credential alone, never from body, query or another header."""

from connectors.gateway.auth.keys import ApiKeys, NewKey
from connectors.gateway.auth.sessions import Sessions
from core.principal import Principal, Scope

__all__ = ["ApiKeys", "NewKey", "Principal", "Scope", "Sessions"]
