"""The driver's errors as ours: what certainly did not happen, and what may have."""

from __future__ import annotations

import cassandra
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage

from schemas import OutcomeUnknown, SettingsError, Unavailable
from state.cassandra.queries import Kind

_SERIAL = (cassandra.ConsistencyLevel.SERIAL, cassandra.ConsistencyLevel.LOCAL_SERIAL)
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_MISSING = ("unconfigured table", "does not exist", "No keyspace has been specified")


class SchemaMissing(Unavailable):
    """The keyspace or a table does not exist yet."""


def explain(error: Exception, kind: Kind) -> Exception:
    """The error as one of ours; an error that only a mistake of ours can cause stays what it is."""
    if isinstance(error, cassandra.InvalidRequest) and any(part in str(error) for part in _MISSING):
        return SchemaMissing(f"the tables do not exist in Cassandra ({error}). Run: cauce state migrate")
    if isinstance(error, cassandra.AuthenticationFailed | cassandra.Unauthorized):
        return SettingsError(
            f"Cassandra refuses us: {error}. See cassandra_user and cassandra_password_file, and what the role may do."
        )
    if isinstance(error, cassandra.RequestValidationException | TypeError | ValueError):
        return error
    if isinstance(error, NoHostAvailable) and (refused := _refused(error)):
        return explain(refused, kind)
    if _is_untrusted(error):
        reason = str(error).partition(f"{_UNTRUSTED}] ")[2] or str(error)
        return SettingsError(f"Cassandra has a certificate that is not trusted: {reason}; see cassandra_ca_file")
    message = f"Cassandra did not answer as it should: {type(error).__name__}: {error}"
    if kind.writes and not _certainly_not_done(error):
        return OutcomeUnknown(message)
    return Unavailable(message)


def _refused(error: Exception) -> Exception | None:
    """The refusal of our credentials, or ours of its certificate, among the reasons why no host could be used."""
    errors = getattr(error, "errors", None)
    reasons = errors.values() if isinstance(errors, dict) else ()
    return next(
        (reason for reason in reasons if isinstance(reason, cassandra.AuthenticationFailed) or _is_untrusted(reason)),
        None,
    )


def _is_untrusted(error: Exception) -> bool:
    """The driver gives an error of TLS on as an `OSError` with its text."""
    return isinstance(error, OSError) and _UNTRUSTED in str(error)


def _certainly_not_done(error: Exception) -> bool:
    if isinstance(error, cassandra.Unavailable):
        # Reported before anything is written, but the commit of a conditional write comes after its decision.
        return error.consistency in _SERIAL
    # With a retry policy that repeats no such statement, no host available means that it was never sent.
    return isinstance(error, NoHostAvailable | OverloadedErrorMessage | IsBootstrappingErrorMessage)
