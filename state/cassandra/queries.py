"""What a statement is, as far as repeating it is concerned."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Which guarantees a statement needs."""

    READ = "read"
    SERIAL_READ = "serial read"
    """Sees every conditional write that was decided, and decides those that were left half done."""
    WRITE = "write"
    """Stores the same values however often it is sent."""
    CONDITIONAL = "conditional"
    """Has an IF: sent twice it may give another answer, so only its store repeats it."""

    @property
    def writes(self) -> bool:
        """Whether it changes rows."""
        return self in (Kind.WRITE, Kind.CONDITIONAL)

    @property
    def idempotent(self) -> bool:
        """Whether it may be sent again when its answer is lost."""
        return self is not Kind.CONDITIONAL


@dataclass(frozen=True, eq=False, slots=True)
class Query:
    """CQL with its kind; one object a statement, compared by identity. Prepared at its first use.

    Tables are written as `KEYSPACE.table`: a prepared statement whose tables depend on a current keyspace is ambiguous,
    and Cassandra warns of it.
    """

    kind: Kind
    cql: str

    def in_keyspace(self, keyspace: str) -> str:
        """The CQL for this keyspace."""
        return self.cql.replace("KEYSPACE.", f"{keyspace}.")
