from __future__ import annotations

from typing import Any

import pytest
from cassandra import ConsistencyLevel, WriteType
from cassandra.connection import ConnectionException, ConnectionShutdown
from cassandra.policies import RetryPolicy
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage, ServerError
from cassandra.query import BatchStatement, SimpleStatement

from state.cassandra.retries import IdempotentOnly

QUORUM = ConsistencyLevel.LOCAL_QUORUM
REQUEST_ERRORS: list[Exception] = [
    ConnectionShutdown("closed"),
    ConnectionException("reset"),
    OverloadedErrorMessage(0x1001, "overloaded", None),
    IsBootstrappingErrorMessage(0x1002, "starting", None),
    ServerError(0x0000, "broken", None),
]


def decisions(statement: Any, retry_num: int) -> list[tuple[int, Any]]:
    """What the policy says to everything that can go wrong with a statement."""
    policy = IdempotentOnly()
    said = [policy.on_request_error(statement, QUORUM, error, retry_num) for error in REQUEST_ERRORS]
    said.append(policy.on_unavailable(statement, QUORUM, 2, 1, retry_num))
    said.append(policy.on_read_timeout(statement, QUORUM, 2, 2, False, retry_num))
    for write_type in WriteType.value_to_name:
        said.append(policy.on_write_timeout(statement, QUORUM, write_type, 2, 1, retry_num))
    return said


def statements(is_idempotent: Any) -> list[Any]:
    batch = BatchStatement()
    batch.is_idempotent = is_idempotent
    return [SimpleStatement("UPDATE t SET a = 1 WHERE k = 1 IF a = 0", is_idempotent=is_idempotent), batch]


@pytest.mark.parametrize("mark", [False, None, 0, "yes"])
@pytest.mark.parametrize("retry_num", [0, 1, 5])
def test_statement_that_does_not_say_it_is_idempotent_is_never_repeated(mark: Any, retry_num: int) -> None:
    for statement in [*statements(mark), BatchStatement(), SimpleStatement("INSERT"), None]:
        assert decisions(statement, retry_num) == [(RetryPolicy.RETHROW, None)] * (len(REQUEST_ERRORS) + 2 + 8)


@pytest.mark.parametrize("statement", statements(True))
def test_idempotent_statement_is_repeated_twice_at_most(statement: Any) -> None:
    for retry_num in (0, 1):
        assert {kind for kind, _ in decisions(statement, retry_num)} == {
            RetryPolicy.RETRY,
            RetryPolicy.RETRY_NEXT_HOST,
        }
    assert {kind for kind, _ in decisions(statement, 2)} == {RetryPolicy.RETHROW}


def test_read_that_too_few_replicas_answered_is_not_repeated() -> None:
    statement = SimpleStatement("SELECT", is_idempotent=True)
    assert IdempotentOnly().on_read_timeout(statement, QUORUM, 2, 1, False, 0) == (RetryPolicy.RETHROW, None)
