"""What can be tuned in the runtime; defaults are for one worker on a small machine."""

from __future__ import annotations

from dataclasses import dataclass

BACKGROUND_GROUPS = frozenset({"tools", "audit"})
"""What turns wait for comes from these groups at once, not in their transactions."""


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """Budgets and times of one worker. Times are in seconds unless the name says otherwise."""

    max_running: int = 1024
    """Records being processed at once; those that wait for a model cost little."""
    tenant_running: int | None = None
    """The most of them of one tenant; three quarters of `max_running` when None."""
    max_queued: int = 5000
    """Records taken in and waiting in lanes, per group."""
    max_queued_bytes: int = 64 << 20
    attempts: int = 5
    """Tries of a record whose processing fails for no known reason, before it is given up."""
    crashes: int = 3
    """Times a record may be found begun and unfinished after a takeover before it is given up."""
    backoff: float = 0.2
    """Before the second try; doubles with each further one."""
    max_backoff: float = 5.0
    publish_linger: float = 0.005
    """Finished records are gathered for so long before they are committed together. While the markers of a
    slot's last transaction are being written Kafka refuses the next one, and a few ms of distance avoid that."""
    background_linger: float = 0.1
    """The same for groups whose transactional outputs nobody waits for (`BACKGROUND_GROUPS`): larger groups, fewer requests."""
    transactions_at_once: int = 4
    """In one process: more slots than this take turns, which makes the groups larger and the requests fewer."""
    session_timeout_ms: int = 6000
    """A worker that is silent for so long loses its slots."""
    rebalance_timeout_ms: int = 60_000
    max_poll_interval_ms: int = 600_000
    transaction_timeout_ms: int = 15_000
    suspend_seconds: float = 5.0
    """How long a revocation waits for a transaction that is running."""
    grace: float = 20.0
    """How long a stop waits for records that are being processed."""

    def linger_of(self, group: str) -> float:
        """Seconds for which a group's finished records are gathered."""
        return max(self.publish_linger, self.background_linger) if group in BACKGROUND_GROUPS else self.publish_linger

    @property
    def tenant_share(self) -> int:
        """The most records of one tenant at once."""
        return self.tenant_running or max(1, self.max_running * 3 // 4)
