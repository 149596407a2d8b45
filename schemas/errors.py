"""Errors that cross room borders.

    CauceError
    ├── SettingsError        the configuration is wrong; the text says which setting and what it may be
    ├── ServerTrouble        a server that we need did not answer as it should
    │   ├── Unavailable      nothing happened; trying again later may work
    │   └── OutcomeUnknown   a write may or may not have happened; read before you decide
    ├── BadRecord            a record that can never be processed, whatever is tried
    │   ├── TooLarge         a record, or what a turn would write, that does not fit
    │   └── UnreadableRow    what is needed is stored in a way that cannot be read; trying again does not help
    └── NotFound             the thing asked for is not there (or belongs to somebody else)

What a processor raises to steer the runtime (`Retry`, `Reject`) lives with the processor contract in `streams`.
"""

from __future__ import annotations


class CauceError(Exception):
    """Base of every error that Cauce raises on purpose."""


class SettingsError(CauceError):
    """The configuration is wrong. The text names the setting, what is wrong and what to do."""


class ServerTrouble(CauceError):
    """A server that we need did not answer as it should. Who catches this does not care whether the operation happened."""


class Unavailable(ServerTrouble):
    """A server that we need does not answer now. The operation did not happen."""


class OutcomeUnknown(ServerTrouble):
    """A write was sent and its answer lost: it may or may not have happened."""


class BadRecord(CauceError):
    """A record that can never be processed: it goes to `dead.letters` with this text as the reason."""


class TooLarge(BadRecord):
    """A record that its reader would refuse, or a batch that its store would. Nothing was written. The text says how large."""


class UnreadableRow(BadRecord):
    """A stored row that cannot be decoded. The text names the row and says what to do, never its content."""


class NotFound(CauceError):
    """The thing asked for does not exist for this tenant."""
