from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import cassandra
import pytest
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionShutdown
from cassandra.protocol import OverloadedErrorMessage, ServerError

from schemas import OutcomeUnknown, SettingsError, Unavailable
from state.cassandra.driver_errors import SchemaMissing, explain
from state.cassandra.outcome import decided
from state.cassandra.queries import Kind

CAS, SERIAL, QUORUM = cassandra.WriteType.CAS, cassandra.ConsistencyLevel.LOCAL_SERIAL, 6
LOST: list[Exception] = [
    cassandra.OperationTimedOut(),
    cassandra.WriteTimeout("timeout", write_type=CAS, consistency=SERIAL, required_responses=2, received_responses=1),
    cassandra.ReadTimeout("timeout", consistency=SERIAL, required_responses=2, received_responses=1),
    cassandra.WriteFailure("failure", consistency=SERIAL),
    cassandra.Unavailable("of the commit", consistency=QUORUM, required_replicas=2, alive_replicas=1),
    ConnectionShutdown("closed"),
    ServerError(0x0000, "broken", None),
]
NOT_DONE: list[Exception] = [
    NoHostAvailable("none", {"db1": ConnectionShutdown("pool is shut down")}),
    cassandra.Unavailable("of the decision", consistency=SERIAL, required_replicas=2, alive_replicas=1),
    OverloadedErrorMessage(0x1001, "overloaded", None),
]


@pytest.mark.parametrize("error", LOST, ids=lambda e: type(e).__name__)
def test_write_whose_answer_is_lost_has_an_unknown_outcome_and_a_read_has_none(error: Exception) -> None:
    assert type(explain(error, Kind.CONDITIONAL)) is OutcomeUnknown
    assert type(explain(error, Kind.WRITE)) is OutcomeUnknown
    assert type(explain(error, Kind.READ)) is Unavailable
    assert type(explain(error, Kind.SERIAL_READ)) is Unavailable


@pytest.mark.parametrize("error", NOT_DONE, ids=lambda e: type(e).__name__)
def test_write_that_was_refused_before_it_began_did_not_happen(error: Exception) -> None:
    for kind in Kind:
        assert type(explain(error, kind)) is Unavailable


def test_missing_table_refused_password_and_mistakes_of_ours_are_told_apart() -> None:
    missing = cassandra.InvalidRequest('Error from server: code=2200 message="unconfigured table threads"')
    assert isinstance(explain(missing, Kind.READ), SchemaMissing)
    assert "cauce state migrate" in str(explain(missing, Kind.READ))
    refused = NoHostAvailable("none", {"db1": cassandra.AuthenticationFailed("bad credentials")})
    assert isinstance(explain(refused, Kind.READ), SettingsError)
    mistake = cassandra.InvalidRequest("no viable alternative at input 'SELEC'")
    assert explain(mistake, Kind.READ) is mistake


class Row:
    """A row that is written once, with answers and looks that get lost as told."""

    def __init__(self, *, writes: list[str], looks: list[str] | None = None) -> None:
        self.writes: Iterator[str] = iter(writes)
        self.looks: Iterator[str] = iter(looks or [])
        self.written = 0

    async def write(self) -> str:
        fate = next(self.writes)
        if fate == "fails":
            raise Unavailable("not sent")
        if self.written:
            return "refused"
        if fate != "lost before":
            self.written += 1
        if fate != "answered":
            raise OutcomeUnknown("lost")
        return "applied"

    async def look(self) -> str | None:
        if next(self.looks, "answered") == "fails":
            raise Unavailable("no answer")
        return "found" if self.written else None


@pytest.mark.parametrize(
    ("writes", "looks", "outcome"),
    [
        (["answered"], [], "applied"),
        (["lost after"], [], "found"),
        (["lost after"], ["fails", "fails", "answered"], "found"),
        (["lost before", "answered"], [], "applied"),
        (["lost before", "lost after"], [], "found"),
        (["lost before", "lost before", "lost before", "answered"], [], "applied"),
    ],
)
async def test_lost_answer_is_looked_up_and_the_row_written_once(
    writes: list[str], looks: list[str], outcome: str
) -> None:
    row = Row(writes=writes, looks=looks)
    assert await decided(row.write, row.look) == outcome
    assert row.written == 1


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Row(writes=["lost after"], looks=["fails"] * 1000), OutcomeUnknown),
        (Row(writes=["lost before"] * 6), OutcomeUnknown),
        (Row(writes=["fails"]), Unavailable),
    ],
    ids=["looking fails", "every try is lost", "not sent"],
)
async def test_what_cannot_be_found_out_is_unknown_and_what_was_not_sent_is_not_looked_up(
    row: Row, expected: type[Exception]
) -> None:
    write: Callable[[], Awaitable[str]] = row.write
    with pytest.raises(expected) as caught:
        await decided(write, row.look, patience=0.2)
    assert type(caught.value) is expected


def test_a_certificate_that_is_not_trusted_is_no_outage() -> None:
    given_on = OSError(
        1,
        "Tried connecting to [('127.0.0.1', 9042)]. Last error: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
        "unable to get local issuer certificate (_ssl.c:1006)",
    )
    explained = explain(NoHostAvailable("none", {"db1": given_on}), Kind.READ)
    assert isinstance(explained, SettingsError)
    assert "unable to get local issuer certificate" in str(explained)
    assert "cassandra_ca_file" in str(explained)
