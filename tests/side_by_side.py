"""Which tests run in which process, and which run alone, when `make test` runs several processes of pytest side by side.

Most tests wait most of the time for something else than the processor. Each process has the session's fixtures to itself, so what
needs the same servers goes to the same process and starts them once. What compares speeds runs alone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
ON_KAFKA = {"apache_kafka", "apache"}
ON_CASSANDRA = {"cassandra", "durable_cassandra", "shared_keyspace"}
ON_BOTH = {"cluster", "servers"}
"""Fixtures that start Apache Kafka or Cassandra, which are also the names of parameters that ask for them."""
LONGEST = (
    "on servers",
    "gateway embedded",
    "chaos",
    "on cassandra",
    "on kafka",
    "test_up",
    "test_simulation",
    "test_own_routes",
    "test_arcade_client",
    "test_command_line",
    "test_bad_input",
    "test_graphs_that_fail",
    "test_encodings",
    "test_graphs_that_misbehave",
    "test_recovery",
)
"""Groups, and folders of groups, that take a minute or more, the longest first: what is long begins early, so that no process
ends long after the others. A wrong place costs time only."""


def group_of(item: pytest.Item) -> str:
    """Tests with the same group run in one process, one after the other."""
    path = item.path.relative_to(TESTS)
    if item.get_closest_marker("alone"):
        return "alone"
    if path.parts[0] == "chaos":
        return item.name  # each has servers of its own
    callspec = getattr(item, "callspec", None)
    needs = {
        *getattr(item, "fixturenames", ()),
        *(v for v in (callspec.params if callspec else {}).values() if isinstance(v, str)),
    }
    # One process for each kind of servers, which starts them once: a Cassandra takes 2 GB, and costs processor time when idle.
    if needs & ON_BOTH or (needs & ON_KAFKA and needs & ON_CASSANDRA):
        return "on servers"
    if needs & ON_CASSANDRA:
        return "on cassandra"
    if needs & ON_KAFKA:
        return "on kafka"
    if path.parts[0] == "gateway" and "embedded" in needs:
        return "gateway embedded"
    return path.stem


def place(item: pytest.Item, group: str) -> int:
    """When a test begins: the long ones first, those that run alone last, when nothing long is left to be waited for."""
    if group == "alone":
        return len(LONGEST) + 1
    name = group if group in LONGEST else item.path.relative_to(TESTS).parts[0]
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


@contextmanager
def apart(alone: bool) -> Iterator[None]:
    """Lets a test that runs alone wait until the tests of all other processes have ended, and those wait for its end.

    Locks of two files that are there: whoever waits to be alone holds the door, so that nobody else begins meanwhile.
    """
    with (TESTS / "conftest.py").open() as door, Path(__file__).open() as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Gives each test its group before xdist looks, and its place after pytest has put shared fixtures together."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    yield
    items.sort(key=lambda item: place(item, group_of(item)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fails where pytest-xdist did not put the groups into the tests' ids: each process would start all servers."""
    if "PYTEST_XDIST_WORKER" in os.environ and session.config.getvalue("loadgroup"):
        ungrouped = [item.nodeid for item in session.items if not item.nodeid.endswith(f"@{group_of(item)}")]
        if ungrouped:
            raise pytest.UsageError(f"pytest-xdist has not grouped {len(ungrouped)} tests, such as {ungrouped[0]}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Keeps the tests that run alone apart from those of other processes."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    with apart(item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Iterator[None]:
    """What a test prints or logs may hold half an emoji, which does not go from one process to another."""
    return _storable((yield))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_storable, value))
    return value


def pytest_xdist_auto_num_workers() -> int:
    """Two processes for each processor: a test waits for more than half of its time."""
    return 2 * (os.cpu_count() or 1)
