"""Processor groups, found in their folders."""

from __future__ import annotations

from pathlib import Path

import pytest

import processors
from processors.groups import GROUPS, groups_of
from schemas import TOPICS, SettingsError


def test_every_folder_is_a_group_of_its_name() -> None:
    (room,) = processors.__path__
    folders = {one.parent.name for one in Path(room).glob("*/__init__.py")}
    assert {name: group.name for name, group in GROUPS.items()} == {name: name for name in folders}


@pytest.mark.parametrize("name", GROUPS)
def test_what_a_group_reads_belongs_to_one_partition_set(name: str) -> None:
    assert len({TOPICS[topic].partition_set for topic in GROUPS[name].reads}) == 1


def test_groups_that_a_conversation_waits_for_come_first() -> None:
    assert [name for name in GROUPS if name in ("turns", "tools", "audit")] == ["turns", "tools", "audit"]


def test_unknown_group_is_named_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match=f"no group 'turn'; there are {', '.join(GROUPS)}"):
        groups_of(["audit", "turn"])
