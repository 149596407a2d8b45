from __future__ import annotations

from typing import Any

import pytest

from schemas import contains


@pytest.mark.parametrize(
    ("has", "wanted", "expected"),
    [
        ({"a": 1, "b": 2}, {}, True),
        ({"owner": {"team": "a", "name": "n"}}, {"owner": {"team": "a"}}, True),
        ({"owner": {"team": "a"}}, {"owner": {}}, True),
        ({"owner": "a"}, {"owner": {}}, False),
        ({}, {"owner": {}}, False),
        ({"deep": {"a": {"b": 1, "c": 2}}}, {"deep": {"a": {"b": 1}}}, True),
        ({"deep": {"a": {"b": 1}}}, {"deep": {"a": {"b": 2}}}, False),
        ({"tags": ["x", "y"]}, {"tags": ["x"]}, False),
        ({"tags": ["x", "y"]}, {"tags": ["x", "y"]}, True),
        ({"a": None}, {"a": None}, True),
        ({}, {"a": None}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1.0}, {"a": 1}, True),
        ([], {}, False),
    ],
)
def test_objects_contain_at_every_depth_and_everything_else_is_equal(has: Any, wanted: Any, expected: bool) -> None:
    assert contains(has, wanted) is expected
