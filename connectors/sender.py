"""What a sender is: a channel on which a user is told something outside of Cauce, such as a chat or a mail.

- `send` sends a notification once, and never again by itself. The same notification may be given to it again, by another process
  and after it was sent: a service that takes an idempotency key gets its id.
- What came of it says whether the user may have got it, as for a tool call. In doubt it is `unknown`, and whoever asked decides
  whether being told twice is better than perhaps not at all.
- A send that raises, or is cancelled, counts as `unknown`.
- Nothing is connected or imported before it is needed, and nothing blocks the event loop. No address and no text is logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

DeliveryKind = Literal["sent", "unknown", "retry", "unreachable", "failed"]
"""`sent`: the service has taken it. `unknown`: it may have. `retry`: certainly not, later it may. `unreachable`: the user has no
address on this channel, or does not want to be reached. `failed`: certainly not, and it is no use to try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a user is told. The same whenever it is sent."""

    notification_id: str
    """Unique within the tenant: the idempotency key."""
    text: str
    """Plain text, of any length: a sender cuts what its service does not take, and says so."""
    tenant_id: str
    user_id: str
    """Unique within the tenant only. The sender knows the user's address."""
    thread_id: str | None = None
    """The thread that it is about, which a link may lead to."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one attempt."""

    kind: DeliveryKind
    message: str = ""
    """In words, for the one who operates this or the user; no address, no text of the notification."""
    retry_after: float | None = None
    """Seconds."""


class Sender(Protocol):
    """One channel. See the module's docstring for the rules."""

    @property
    def id(self) -> str:
        """The name of its connector."""
        ...

    async def send(self, notification: Notification) -> Delivery:
        """Sends it once. What comes of it is the delivery, never an error."""
        ...

    async def check(self) -> str:
        """Looks whether it works, for `cauce doctor`: what was found, in words.

        Raises `schemas.CauceError` with what is wrong and what to do about it.
        """
        ...

    async def close(self) -> None:
        """Lets go of connections. Nothing is sent afterwards."""
        ...
