"""What a refusal says of the value that it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from core.refusals import MOST_SHOWN, shown, unfit


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("up", 'sort_order is "up", but must be asc or desc.'),
        (None, "sort_order is missing, but must be asc or desc."),
        ({"a": [1, None, True]}, 'sort_order is {"a": [1, null, true]}, but must be asc or desc.'),
    ],
)
def test_refusal_names_what_was_given_and_what_is_allowed(given: Any, words: str) -> None:
    refused = unfit("sort_order", given, "asc or desc")
    assert (refused.code, refused.detail) == ("invalid", words)


def test_refusal_shows_only_the_beginning_of_a_large_value() -> None:
    text = shown(["x" * 100_000])
    assert text.startswith('["xxx')
    assert len(text) == MOST_SHOWN + len("...")
