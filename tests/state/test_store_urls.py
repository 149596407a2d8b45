from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from schemas import SettingsError, Unavailable
from state import open_stores
from state.cassandra.stores import from_url as cassandra_from_url
from state.sqlite import SqliteStores


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/cauce", "/data/cauce/state.db"),
        ("sqlite:////data/cauce/", "/data/cauce/state.db"),
        ("sqlite:///data/cauce.db", "/data/cauce.db"),
        ("sqlite:///data/a%20b%3F/x.sqlite3?synchronous=full", "/data/a b?/x.sqlite3"),
        ("sqlite:var/here", "var/here/state.db"),
    ],
)
def test_sqlite_url_names_a_file_or_a_folder(url: str, path: str) -> None:
    stores = open_stores(url)
    assert isinstance(stores, SqliteStores)
    assert stores.path == Path(path)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://data/cauce", "three slashes"),
        ("sqlite:///", "no path"),
        ("sqlite:///data?synchronous=off", "normal or full"),
        ("sqlite:///data?sync=full", "no option 'sync'"),
        ("sqlite:///data?readers=many", "not a number"),
        ("postgres://localhost/x", "names no store"),
        ("/data/cauce", "names no store"),
        ("cassandra://h1/", "no keyspace"),
        ("cassandra://h1/Upper", "no keyspace"),
        ("cassandra://h1/a;drop", "no keyspace"),
        ("cassandra:///ks", "no list of hosts"),
        ("cassandra://h1:x/ks", "no list of hosts"),
        ("cassandra://h1:9042,h2:9043/ks", "different ports"),
        ("cassandra://h1/ks?rf=three", "not a number"),
        ("cassandra://h1/ks?rf=0", "above 0"),
        ("cassandra://h1/ks?dc=x'y", "data centre"),
        ("cassandra://h1/ks?replication=3", "no option 'replication'"),
    ],
)
def test_url_that_means_nothing_is_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        open_stores(url)


def test_cassandra_url_gives_hosts_port_keyspace_and_options() -> None:
    options = cassandra_from_url(
        "cassandra://ana:p%40ss@db1,db2:19042,[::1]/cauce_1?rf=3&dc=eu-west", request_timeout=1.5
    ).options
    assert options.hosts == ("db1", "db2", "::1")
    assert (options.port, options.keyspace, options.rf, options.dc) == (19042, "cauce_1", 3, "eu-west")
    assert (options.username, options.password, options.request_timeout) == ("ana", "p@ss", 1.5)
    assert options.replication == "{'class': 'NetworkTopologyStrategy', 'eu-west': 3}"


def test_cassandra_url_needs_a_host_and_a_keyspace_only() -> None:
    options = cassandra_from_url("cassandra://db1/cauce").options
    assert (options.hosts, options.port, options.keyspace, options.username) == (("db1",), 9042, "cauce", None)
    assert options.replication == "{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}"


def test_backend_that_is_not_used_is_not_imported() -> None:
    program = (
        "import sys, state\n"
        "assert not {'sqlite3', 'cassandra', 'state.sqlite', 'state.cassandra'} & sys.modules.keys()\n"
        "state.open_stores('sqlite:///data')\n"
        "assert 'cassandra' not in sys.modules and 'state.cassandra' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_driver_without_libev_is_a_settings_error_that_says_what_to_do() -> None:
    program = (
        "import sys\n"
        "sys.modules['cassandra.io.libevwrapper'] = None\n"
        "from schemas import SettingsError\n"
        "from state import open_stores\n"
        "try:\n"
        "    open_stores('cassandra://db1/cauce')\n"
        "except SettingsError as error:\n"
        "    assert 'libev' in str(error) and 'reinstall' in str(error), error\n"
        "else:\n"
        "    raise AssertionError('accepted')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_stores_that_are_not_open_say_so() -> None:
    for url in ("sqlite:///data", "cassandra://db1/cauce"):
        with pytest.raises(Unavailable, match="not open"):
            await open_stores(url).journal.outputs_of("t", "th", "i1")
