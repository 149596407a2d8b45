"""The contract of senders: channels that notify users outside Cauce, such as a chat or a mail service.

- `send` sends a notification once, and never retries. It may be called again with the same notification, by another process and
  after it was sent: pass its id as the idempotency key if the service accepts one.
- The result states whether the user may have received it, as for a tool call. In doubt it is `unknown`, and the caller decides
  whether a duplicate is better than perhaps no notification.
- A `send` that raises or is cancelled counts as `unknown`.
- Connect and import only when needed, do not block the event loop, and log neither addresses nor texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

DeliveryKind = Literal["sent", "unknown", "retry", "unreachable", "failed"]
"""`sent`: the service has accepted it. `unknown`: it may have. `retry`: not sent, but a later attempt may succeed. `unreachable`:
the user has no address on this channel, or does not want to be reached. `failed`: not sent, and retrying is pointless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A notification of a user. It is identical on every attempt."""

    notification_id: str
    """Unique within the tenant: the idempotency key."""
    text: str
    """Plain text of any length: a sender truncates it to what its service accepts, with a note."""
    tenant_id: str
    user_id: str
    """Unique within the tenant only. The sender knows the user's address."""
    thread_id: str | None = None
    """The thread it is about, to which a link may point."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of one attempt."""

    kind: DeliveryKind
    message: str = ""
    """A reason for the operator or the user, without the address and the text of the notification."""
    retry_after: float | None = None
    """Seconds."""


class Sender(Protocol):
    """A sender for one channel. See the module's docstring for the rules."""

    @property
    def id(self) -> str:
        """The name of its connector."""
        ...

    async def send(self, notification: Notification) -> Delivery:
        """Sends the notification once. Failures are results, not exceptions."""
        ...

    async def check(self) -> str:
        """Checks for `cauce doctor` whether the sender works; returns a description.

        Raises `schemas.CauceError` with the problem and what to do about it.
        """
        ...

    async def close(self) -> None:
        """Closes connections. Nothing is sent afterwards."""
        ...
