"""Messages of a conversation, as the journal keeps them and as events carry them.

Own plain JSON rather than LangChain's serialisation: rows outlive library versions, and reading them constructs no
classes by name (CVE-2026-28277 and its kind need a serialiser that does).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.base import Body, Stored, Timestamp
from schemas.ids import Id

MAX_TEXT = 200_000
"""Characters of one message; a longer one is refused, since a record must stay below 1 MB."""


class ToolCall(Stored):
    """A tool call that the model asked for. `call_id` is unique in the installation and the same on every replay."""

    call_id: Id
    name: str = Field(min_length=1, max_length=128)
    arguments: dict[str, Any] = Field(default_factory=dict)


class TokenUsage(Stored):
    """Tokens of one model call as the provider counted them."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: TokenUsage) -> TokenUsage:
        """The usage of both calls together."""
        return TokenUsage(
            input_tokens=self.input_tokens + other.input_tokens, output_tokens=self.output_tokens + other.output_tokens
        )


class ProviderPart(Stored):
    """What a provider must get back with a message of its model, such as signed reasoning. Only the worker that asks the same
    model again looks into it; the gateway shows it to nobody."""

    model: str
    """Which model may have it back (`processors.turns.profile.Profile.model_key`)."""
    body: str
    """JSON, as one text: what was signed must come back as it was."""


Ending = Literal["cut", "filtered"]
"""Why a text is not whole: it reached the model's limit of tokens, or the provider held the rest of it back."""


class Message(Body):
    """One message of a thread: `user` (a person or an event), `assistant` (the model) or `tool` (a result)."""

    message_id: Id
    role: Literal["user", "assistant", "tool"]
    text: str = ""
    run_id: Id
    at: Timestamp
    tool_calls: tuple[ToolCall, ...] = ()
    origin: Literal["user", "event"] | None = None
    """Who wrote the text, where the role does not say it: the user, who decided instead of a tool, or an external event, whose
    role is `user`."""
    call_id: Id | None = None
    """For a tool message: the call that it answers."""
    tool_name: str | None = None
    failed: bool = False
    """For a tool message: the call did not do what was asked."""
    usage: TokenUsage | None = None
    """None where the provider did not count."""
    model: str | None = None
    ending: Ending | None = None
    """For an incomplete assistant message: why it is incomplete."""
    provider: ProviderPart | None = None
