"""Why runs are cancelled, and what their users read."""

from __future__ import annotations

from typing import Literal

CancelReason = Literal["cancelled", "interrupted", "rolled_back", "rejected", "abandoned"]

CANCEL_MESSAGES: dict[CancelReason, str] = {
    "cancelled": "The run was cancelled.",
    "interrupted": "A newer message took its place.",
    "rolled_back": "What the run had written was removed; a newer message took its place, or it was cancelled so.",
    "rejected": "Another run of this thread is active; the message was not accepted.",
    "abandoned": "A new message came instead of a decision.",
}
