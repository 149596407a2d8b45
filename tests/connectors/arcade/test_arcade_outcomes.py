from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.arcade.outcomes import of_http_error, of_output
from connectors.toolset import OutcomeKind

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "tell_model"),
        (401, "halt"),
        (403, "needs_authorization"),
        (404, "tell_model"),
        (408, "unknown"),
        (409, "unknown"),
        (422, "tell_model"),
        (429, "retry"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "unknown"),
        (504, "unknown"),
    ],
)
def test_an_error_answer_of_the_engine_is_classified_by_its_status(status: int, kind: OutcomeKind) -> None:
    outcome = of_http_error(status, {"name": "some_name", "message": "some words"}, None)
    assert outcome.kind == kind
    assert outcome.status == status


@pytest.mark.parametrize(
    ("kind_of_error", "expected"),
    [
        ("CONTEXT_DENIED", "refused"),
        ("TOOL_REQUIREMENTS_NOT_MET", "needs_authorization"),
        ("UPSTREAM_RUNTIME_AUTH_ERROR", "needs_authorization"),
        ("UPSTREAM_RUNTIME_RATE_LIMIT", "retry"),
        ("TOOL_RUNTIME_BAD_INPUT_VALUE", "tell_model"),
        ("TOOL_RUNTIME_RETRY", "tell_model"),
        ("TOOL_RUNTIME_CONTEXT_REQUIRED", "tell_model"),
        ("TOOL_RUNTIME_FATAL", "tell_model"),
        ("TOOL_DEFINITION_BAD_DEFINITION", "tell_model"),
        ("TOOL_DEFINITION_BAD_INPUT_SCHEMA", "tell_model"),
        ("UPSTREAM_RUNTIME_BAD_REQUEST", "tell_model"),
        ("UPSTREAM_RUNTIME_NOT_FOUND", "tell_model"),
        ("UPSTREAM_RUNTIME_VALIDATION_ERROR", "tell_model"),
        ("UPSTREAM_RUNTIME_SERVER_ERROR", "unknown"),
        ("UPSTREAM_RUNTIME_UNMAPPED", "unknown"),
        ("NETWORK_TRANSPORT_RUNTIME_TIMEOUT", "unknown"),
        ("NETWORK_TRANSPORT_RUNTIME_UNREACHABLE", "unknown"),
        ("NETWORK_TRANSPORT_RUNTIME_UNMAPPED", "unknown"),
        ("TOOL_RUNTIME_BAD_OUTPUT_VALUE", "unknown"),
        ("TOOL_DEFINITION_BAD_OUTPUT_SCHEMA", "unknown"),
        ("UNKNOWN", "unknown"),
        ("A_KIND_OF_NEXT_YEAR", "unknown"),
        ("TOOLKIT_LOAD_FAILED", "failed"),
    ],
)
@pytest.mark.parametrize("can_retry", [True, False])
def test_an_error_of_the_tool_is_classified_by_its_kind_whatever_can_retry_says(
    kind_of_error: str, expected: OutcomeKind, can_retry: bool
) -> None:
    error = {"kind": kind_of_error, "message": "some words", "can_retry": can_retry}
    outcome = of_output({"error": error}, "tc_1")
    assert outcome.kind == expected
    assert outcome.error_kind == kind_of_error
    assert outcome.execution_id == "tc_1"


@pytest.mark.parametrize(
    "told",
    [
        {"developer_message": "rateLimitExceeded: Too many concurrent requests for user"},
        {"developer_message": "Reason: userRateLimitExceeded"},
        {"developer_message": "dailyLimitExceeded"},
        {"message": "Quota exceeded for quota metric 'Queries'"},
    ],
)
def test_a_quota_that_looks_like_lost_consent_is_a_rate_limit(told: dict[str, str]) -> None:
    error = {"kind": "UPSTREAM_RUNTIME_AUTH_ERROR", "message": "403", "status_code": 403, **told}
    assert of_output({"error": error}, None).kind == "retry"


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, 0.0])
def test_a_falsy_value_is_a_result_and_not_an_error(value: Any) -> None:
    outcome = of_output({"value": value}, "tc_1")
    assert outcome.kind == "ok"
    assert outcome.value == value


def test_an_answer_that_asks_for_authorization_needs_authorization() -> None:
    answer = {"authorization": {"status": "pending", "url": "https://consent.example"}}
    assert of_output(answer, "tc_1").kind == "needs_authorization"


def test_what_the_consent_answer_carries_goes_no_further() -> None:
    answer = {"authorization": {"status": "pending", "context": {"token": "ya29.secret"}}}
    assert "ya29.secret" not in repr(of_output(answer, "tc_1"))


def test_hints_of_the_tool_for_the_model_are_passed_on() -> None:
    error = {
        "kind": "TOOL_RUNTIME_RETRY",
        "message": "no such project",
        "additional_prompt_content": "there are Work, Home",
    }
    assert of_output({"error": error}, None).message == "no such project\nthere are Work, Home"


def test_the_words_for_the_model_are_bounded() -> None:
    error = {"kind": "TOOL_RUNTIME_FATAL", "message": "x" * 100_000}
    assert len(of_output({"error": error}, None).message) == 4000


def test_milliseconds_of_the_tool_become_seconds() -> None:
    error = {"kind": "UPSTREAM_RUNTIME_RATE_LIMIT", "message": "slow down", "retry_after_ms": 1500}
    assert of_output({"error": error}, None).retry_after == 1.5


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "bad_request", "message": "failed to parse tool name"}, "failed to parse tool name"),
        ({"code": 400, "error": "user_mismatch", "msg": "An error occurred"}, "An error occurred"),
        ("<html>", "HTTP 400"),
        (None, "HTTP 400"),
        ([], "HTTP 400"),
    ],
)
def test_the_message_of_either_error_shape_is_found(body: object, expected: str) -> None:
    assert of_http_error(400, body, None).message == expected


@given(status=st.integers(400, 599), body=JSON)
def test_every_error_answer_has_an_outcome_and_none_is_ok(status: int, body: object) -> None:
    assert of_http_error(status, body, None).kind != "ok"


@given(status=st.integers(500, 599), body=JSON)
def test_a_server_error_never_says_that_the_call_was_not_carried_out(status: int, body: object) -> None:
    assert of_http_error(status, body, None).kind == "unknown"


@given(kind=st.text(), message=st.text())
def test_a_kind_that_nobody_knows_is_an_unknown_outcome(kind: str, message: str) -> None:
    outcome = of_output({"error": {"kind": f"{kind}?", "message": message, "can_retry": True}}, None)
    assert outcome.kind == "unknown"
