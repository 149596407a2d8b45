"""The contract of toolsets, which provide tools to agents, and the possible outcomes of a tool call.

Agents are offered the tools of all toolsets together (`connectors.toolsets`); the prefix of a tool's name determines the toolset
that a call goes to. The rules:

- `tools` is called in every turn. A toolset caches its tools, returns the cached ones while it refreshes them, and raises only if
  it has never been able to read them.
- `call` makes a call once, and never retries: retries belong to the tools processor and its ledger. The most important property
  of an outcome is whether the call may have been executed:

  | kind | executed | next |
  |---|---|---|
  | `ok` | yes | the model gets the value |
  | `unknown` | perhaps | `reconcile` is called, or the call is repeated if its tool is `repeatable`, or the model is informed |
  | `retry` | no | the same call is retried later, a few times |
  | `halt` | no | no call can succeed, for example because of a bad key: the same call is retried until it does |
  | `tell_model`, `needs_authorization`, `refused`, `failed` | no | the model is informed |

  In doubt it is `unknown`: a timeout, a connection that broke after the request was sent, a response that makes no sense.
- A call that raises or is cancelled counts as `unknown`, and so does one whose worker dies before the outcome is in the ledger:
  the next worker calls `reconcile`.
- Users' credentials stay in the toolset: they are never returned, logged, or put into an outcome.
- The toolset truncates a value of more than 64,000 characters, with a note: it would fill the model's context window and the
  journal.
- Connect and import only when needed, and do not block the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

OutcomeKind = Literal["ok", "retry", "tell_model", "needs_authorization", "refused", "unknown", "failed", "halt"]
"""`ok`: executed. `retry`: not executed, but a later attempt may succeed. `tell_model`: not executed; the model should change its
plan. `needs_authorization`: the user must consent first. `refused`: a policy forbids it. `unknown`: it may have been executed.
`failed`: not executed, and retrying is pointless. `halt`: no call can succeed (the API key is bad)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool: its description for models, and its behaviour."""

    name: str
    """The name for models: up to 64 letters, digits, `_` and `-`, beginning with its toolset's prefix."""
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of its arguments, an object."""
    read_only: bool = False
    """Whether calls have no side effects; other calls may need the user's approval."""
    idempotent: bool = False
    """Whether repeating a call has no further effect."""
    qualified_name: str = ""
    """The service's own name for it."""
    version: str = ""
    """The version to call; empty if the service has no versions."""
    provider: str | None = None
    """The service whose account it needs, by a name that users know."""
    scopes: tuple[str, ...] = ()
    """The permissions to which the user consents."""

    @property
    def side_effects(self) -> bool:
        """Whether a call may have side effects."""
        return not self.read_only

    @property
    def repeatable(self) -> bool:
        """Whether a call that may have been executed can safely be repeated. False for unknown tools."""
        return self.read_only or self.idempotent


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call for a user. It is identical on every attempt."""

    call_id: str
    """Unique within the tenant: the idempotency key for services that accept one."""
    tool: ToolSpec
    arguments: Mapping[str, Any]
    """As the model wrote them or the user changed them; not yet validated against the tool's schema."""
    tenant_id: str
    user_id: str
    """Unique within the tenant only."""


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """The outcome of an attempt. `message` is a text for the model, `retry_after` is in seconds."""

    kind: OutcomeKind
    value: Any = None
    """The result, if `ok`: text, or a value that can be written as JSON."""
    message: str = ""
    retry_after: float | None = None
    error_kind: str | None = None
    status: int | None = None
    execution_id: str | None = None
    """The service's own id of the call."""


class Toolset(Protocol):
    """A source of tools. See the module's docstring for the rules."""

    @property
    def id(self) -> str:
        """The name of its connector."""
        ...

    @property
    def prefix(self) -> str:
        """The prefix of its tools' names, unique to it: its id and `_`. Empty for the one toolset of an installation that
        keeps the names of its service, which is Arcade."""
        ...

    async def tools(self) -> Mapping[str, ToolSpec]:
        """All tools by name; the same object until they are refreshed, so that callers can cache what they derive from it.

        Raises `schemas.Unavailable` if they have never been read.
        """
        ...

    async def call(self, call: Call) -> ToolOutcome:
        """Makes the call once. Failures are outcomes, not exceptions."""
        ...

    async def reconcile(self, call: Call, since: datetime) -> ToolOutcome | None:
        """Determines with a read the outcome of a call that was sent at `since`; None if that is not possible.

        A returned outcome must be certain: a match must belong to this call, and no match proves nothing if search results lag.
        """
        ...

    async def check(self) -> str:
        """Checks for `cauce doctor` whether the toolset works; returns a description.

        Raises `schemas.CauceError` with the problem and what to do about it.
        """
        ...

    async def close(self) -> None:
        """Closes connections. Nothing is called afterwards."""
        ...
