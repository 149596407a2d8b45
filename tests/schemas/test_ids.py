"""Ids: sorted by time, unique, derived the same way twice, and never able to escape from a key."""

from __future__ import annotations

import re
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import BadRecord, ThreadKey, derived_id, is_id, is_tenant_id, new_id
from schemas.ids import derived_uuid, new_traceparent, random_digits, sortable_uuid

parts = st.lists(st.text(max_size=10) | st.integers(), min_size=1, max_size=4)


def test_new_ids_are_ids_and_all_different() -> None:
    made = [new_id("m") for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert all(is_id(one) and one.startswith("m_") for one in made)


@given(parts)
def test_a_derived_id_is_the_same_every_time(values: list[str | int]) -> None:
    assert derived_id("x", *values) == derived_id("x", *values)
    assert is_id(derived_id("x", *values))


@given(parts, parts)
def test_different_parts_give_different_ids(one: list[str | int], other: list[str | int]) -> None:
    same = [str(v) for v in one] == [str(v) for v in other]
    assert (derived_id("x", *one) == derived_id("x", *other)) is same


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_thread_key_is_read_as_it_was_written_or_refused(tenant: str, thread: str) -> None:
    try:
        key = ThreadKey.parse(f"{tenant}:{thread}")
    except BadRecord:
        assert not (is_tenant_id(tenant) and is_id(thread))
    else:
        assert key == (tenant, thread)
        assert ThreadKey.parse(str(key).encode()) == key


@pytest.mark.parametrize("text", ["", "a:b", "../x", "a/b", "-a", ".a", "a b", "ä", "a\n", "x" * 129])
def test_what_could_mean_something_elsewhere_is_no_id(text: str) -> None:
    assert not is_id(text)
    assert not is_tenant_id(text)


def test_uuids_that_sort_by_time_are_of_version_7() -> None:
    made = [sortable_uuid() for _ in range(100)]
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in made} == {(7, uuid.RFC_4122)}
    now = time.time_ns() // 1_000_000
    assert all(now - 60_000 < uuid.UUID(one).int >> 80 <= now for one in made)
    assert len(set(made)) == 100


def test_a_derived_uuid_is_always_the_same() -> None:
    assert derived_uuid("acme", "ana", "t1", "key") == "d3d8c067-2bcc-5b15-a394-ffd86b5b29d8"
    assert derived_uuid("acme", "ana", "t1", "other") != derived_uuid("acme", "ana", "t1", "key")


def test_random_digits_are_as_many_as_asked_for() -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", random_digits(12))
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", new_traceparent())
