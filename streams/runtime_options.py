"""What can be tuned in the runtime; defaults are for one worker on a small machine."""

from __future__ import annotations

from dataclasses import dataclass

from streams.contract import Group


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """Budgets and times of one worker. Times are in seconds unless the name says otherwise."""

    max_running: int = 1024
    """Records being processed concurrently; those that wait for a model cost little."""
    tenant_running: int | None = None
    """The most of them of one tenant; three quarters of `max_running` when None."""
    user_running: int | None = None
    """The most of them of one user; three quarters of its tenant's when None."""
    max_queued: int = 5000
    """Records taken in and waiting in lanes, per group."""
    max_queued_bytes: int = 64 << 20
    shares: tuple[float, float, float] = (1 / 15, 1 / 3, 1.0)
    """What records of one thread, of one user and of one tenant may hold of both, as parts of what is still free of it: one
    thread alone fills 1/16 of all, one user 1/4, one tenant 1/2. Of more only their positions are kept."""
    small_bytes: int = 1024
    """A value of up to so many bytes is kept with its position: it costs no more than that."""
    attempts: int = 3
    """Tries of a record whose processing fails for no known reason, before it is given up."""
    crashes: int = 3
    """Times a record may be begun and not come to an end, since its worker died or its task was ended, before it is given up."""
    looks: int = 4
    """Times that a position in a partition is read, with backoff, before what lies there is given up as unreadable."""
    stall_seconds: float = 10.0
    """A partition that has more and gives nothing for so long is looked at more closely."""
    backoff: float = 0.2
    """Before the second try; doubles with each further one."""
    max_backoff: float = 5.0
    outage_backoff: float = 1.0
    """The longest wait while a server is away: people wait for its return, and asking costs little."""
    publish_linger: float = 0.005
    """Finished records are gathered for so long before they are committed together. While the markers of a
    slot's last transaction are being written Kafka refuses the next one, and a few ms of distance avoid that."""
    relaxed_linger: float = 0.05
    """Like `publish_linger`, where the pipeline continues by itself: what was sent immediately, a tool's request, leads to
    the thread's next record. Shorter than most tools take, so that users see that a tool is called before they see its result."""
    background_linger: float = 1.0
    """Like `publish_linger`, for groups that nobody waits for (`Group.awaited`): larger batches, fewer requests. When a worker
    dies, so much work, and no effect, is repeated."""
    transactions_at_once: int = 4
    """In one process: more slots than this take turns, which makes the groups larger and the requests fewer."""
    metadata_max_age_ms: int = 10_000
    """How soon a producer or consumer sees that a topic has more partitions."""
    growth_pause: float = 25.0
    """Seconds after a growth in which producers may still use the old number of partitions."""
    session_timeout_ms: int = 6000
    """A worker that is silent for so long loses its slots."""
    rebalance_timeout_ms: int = 60_000
    max_poll_interval_ms: int = 600_000
    transaction_timeout_ms: int = 15_000
    suspend_seconds: float = 5.0
    """How long a revocation waits for a transaction that is running."""
    grace: float = 20.0
    """How long a stop waits for records that are being processed."""

    def relaxed_linger_of(self, group: Group) -> float:
        """Seconds for which a group's finished records are gathered while no client waits for one of them."""
        return max(self.publish_linger, self.relaxed_linger if group.awaited else self.background_linger)

    @property
    def transaction_seconds(self) -> float:
        """The longest that a transaction is waited for. Kafka has aborted it by then, unless it was committed."""
        return 2 * self.transaction_timeout_ms / 1000

    @property
    def tenant_share(self) -> int:
        """The most records of one tenant processed concurrently."""
        return self.tenant_running or max(1, self.max_running * 3 // 4)

    @property
    def user_share(self) -> int:
        """The most records of one user processed concurrently."""
        return self.user_running or max(1, self.tenant_share * 3 // 4)
