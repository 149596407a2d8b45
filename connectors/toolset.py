"""What a toolset is: where tools come from, and what a call of one may come to.

Agents are offered the tools of all toolsets together (`connectors.toolsets`), and a call goes to the toolset whose prefix its
tool's name has. The rules:

- `tools` is asked in every turn. A toolset keeps what it has read, gives what is old while it reads anew, and raises only while
  it has never been able to read.
- `call` makes a call once, and never again by itself: repeats belong to the tools processor and its ledger. What matters most
  about an outcome is whether the call may have been carried out:

  | kind | carried out | then |
  |---|---|---|
  | `ok` | yes | the model gets the value |
  | `unknown` | perhaps | `reconcile` is asked, or the call is made again where its tool is `repeatable`; else the model is told |
  | `retry` | certainly not | the same call is made again later, a few times |
  | `halt` | certainly not | no call can work, such as with a bad key: the same call is made again until it does |
  | `tell_model`, `needs_authorization`, `refused`, `failed` | certainly not | the model is told |

  In doubt it is `unknown`: no answer in time, a connection that broke after the request was sent, an answer that makes no sense.
- A call that raises, or is cancelled, counts as `unknown`, and so does one whose worker dies before the outcome is in the
  ledger: whoever comes next asks `reconcile`.
- Users' credentials stay in the toolset: none is returned, logged, or put into an outcome.
- A value of more than 64,000 characters is cut by the toolset, with a note: it would fill the model's window and the journal.
- Nothing is connected or imported before it is needed, and nothing blocks the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

OutcomeKind = Literal["ok", "retry", "tell_model", "needs_authorization", "refused", "unknown", "failed", "halt"]
"""`ok`: carried out. `retry`: certainly not carried out, later it may be. `tell_model`: not carried out, plan anew.
`needs_authorization`: the user must consent first. `refused`: a policy forbids it. `unknown`: it may have been carried out.
`failed`: not carried out, and it is no use to try. `halt`: no call can work (the API key is bad)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """One tool, as models see it and as it behaves."""

    name: str
    """What models call it: letters, digits, `_` and `-`, 64 at most, beginning with its toolset's prefix."""
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of its arguments, an object."""
    read_only: bool = False
    """A call changes nothing outside; calls of others may wait for the user's approval."""
    idempotent: bool = False
    """It may be called twice without harm."""
    qualified_name: str = ""
    """The service's own name of it."""
    version: str = ""
    """The version that is called; empty where the service has none."""
    provider: str | None = None
    """Whose account it needs, as a user knows it."""
    scopes: tuple[str, ...] = ()
    """What the user consents to."""

    @property
    def side_effects(self) -> bool:
        """Whether a call changes something outside."""
        return not self.read_only

    @property
    def repeatable(self) -> bool:
        """Whether a call that may have been carried out may be made again. Not so for a tool that nobody knows."""
        return self.read_only or self.idempotent


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a tool for a user. The same on every attempt."""

    call_id: str
    """Unique within the tenant: the idempotency key, for a service that takes one."""
    tool: ToolSpec
    arguments: Mapping[str, Any]
    """As the model wrote them, or its user changed them: not checked against the tool's schema yet."""
    tenant_id: str
    user_id: str
    """Unique within the tenant only."""


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """The outcome of an attempt. `message` is in words for the model, `retry_after` in seconds."""

    kind: OutcomeKind
    value: Any = None
    """Of `ok`: text, or what becomes JSON."""
    message: str = ""
    retry_after: float | None = None
    error_kind: str | None = None
    status: int | None = None
    execution_id: str | None = None
    """The service's own id of the call."""


class Toolset(Protocol):
    """One source of tools. See the module's docstring for the rules."""

    @property
    def id(self) -> str:
        """The name of its connector."""
        ...

    @property
    def prefix(self) -> str:
        """What the names of its tools begin with, and nobody else's: its id and `_`. Empty for the one toolset of an
        installation whose names are as its service has them, which is Arcade."""
        ...

    async def tools(self) -> Mapping[str, ToolSpec]:
        """All tools by name; the same object until they were read anew, since what is made of it is kept as long.

        Raises `schemas.Unavailable` while they have never been read.
        """
        ...

    async def call(self, call: Call) -> ToolOutcome:
        """Makes the call once. What comes of it is the outcome, never an error."""
        ...

    async def reconcile(self, call: Call, since: datetime) -> ToolOutcome | None:
        """Finds out by a read what became of a call that was sent at `since`; None when that cannot be told.

        An outcome is certain: a hit must be of this call, and that nothing is found is no proof where searches lag behind.
        """
        ...

    async def check(self) -> str:
        """Looks whether it works, for `cauce doctor`: what was found, in words.

        Raises `schemas.CauceError` with what is wrong and what to do about it.
        """
        ...

    async def close(self) -> None:
        """Lets go of connections. Nothing is called afterwards."""
        ...
