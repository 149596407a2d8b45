"""`cauce doctor` names what others could use: files that they may read, servers in the clear, passwords that everybody tries."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cauce.access_checks import addresses_of_folder, is_loopback, weaknesses
from cauce.checks import examine
from cauce.settings import load_settings

GOOD = "Q8f-3k2-random-2vTz"


def found(tmp_path: Path, **environment: str) -> list[str]:
    settings = load_settings(environment={"CAUCE_DATA": str(tmp_path / "data"), **environment})
    texts = [f"{verdict}: {text}" for verdict, text in weaknesses(settings)]
    assert GOOD not in "".join(texts)
    return texts


def test_nothing_is_found_on_one_machine_and_on_closed_servers(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    assert found(tmp_path, CAUCE_KAFKA="127.0.0.1:1,localhost:2,[::1]:3", CAUCE_CASSANDRA="127.0.0.1:9042") == []
    closed = {
        f"CAUCE_{server}_{name}": value
        for server in ("KAFKA", "CASSANDRA", "REDIS")
        for name, value in (("TLS", "1"), ("USER", "me"), ("PASSWORD", GOOD))
    }
    servers = {"CAUCE_KAFKA": "k:1", "CAUCE_CASSANDRA": "c:1", "CAUCE_REDIS": "redis://r:1"}
    assert found(tmp_path, **servers, **closed) == []


@pytest.mark.parametrize(
    ("environment", "texts"),
    [
        ({"CAUCE_KAFKA": "k:1"}, ["Kafka at k is used in the clear", "Kafka at k is used without a password"]),
        ({"CAUCE_CASSANDRA": "c:1"}, ["Cassandra at c is used in the clear", "without a password"]),
        ({"CAUCE_REDIS": "redis://r:1"}, ["Redis at r is used in the clear", "without a password"]),
        (
            {"CAUCE_CASSANDRA": "c:1", "CAUCE_CASSANDRA_USER": "cassandra", "CAUCE_CASSANDRA_PASSWORD": "cassandra"},
            ["problem: the password of Cassandra is one that everybody tries first", "used in the clear"],
        ),
        (
            {"CAUCE_KAFKA": "127.0.0.1:1", "CAUCE_KAFKA_USER": "me", "CAUCE_KAFKA_PASSWORD": "short"},
            ["warning: the password of Kafka has fewer than 12 characters"],
        ),
        (
            {
                "CAUCE_KAFKA": "k:1",
                "CAUCE_KAFKA_USER": "me",
                "CAUCE_KAFKA_PASSWORD": GOOD,
                "CAUCE_KAFKA_MECHANISM": "PLAIN",
            },
            ["problem: PLAIN sends the password to Kafka in the clear", "used in the clear"],
        ),
        ({"CAUCE_GATEWAY_HOST": "0.0.0.0"}, ["the gateway listens on 0.0.0.0 without TLS"]),
    ],
)
def test_what_others_could_use_is_named(tmp_path: Path, environment: dict[str, str], texts: list[str]) -> None:
    named = found(tmp_path, **environment)
    assert len(named) == len(texts)
    for text, one in zip(texts, named, strict=True):
        assert text in one


def test_files_with_secrets_that_others_may_read_are_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(GOOD)
    given = {"CAUCE_KAFKA": "127.0.0.1:1", "CAUCE_KAFKA_USER": "me", "CAUCE_KAFKA_PASSWORD_FILE": str(secret)}
    secret.chmod(0o640)
    assert f"problem: kafka_password_file {secret} can be read by other users" in found(tmp_path, **given)[0]
    secret.chmod(0o600)
    assert found(tmp_path, **given) == []
    (tmp_path / "data" / "state").mkdir(parents=True)
    (tmp_path / "data" / "state" / "state.db").touch(0o600)
    assert found(tmp_path) == []
    (tmp_path / "data" / "state" / "state.db").chmod(0o644)
    assert "state.db' is open for other users" in found(tmp_path)[0]


def test_addresses_of_this_machine_are_known() -> None:
    assert [host for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost") if not is_loopback(host)] == []
    assert [host for host in ("0.0.0.0", "10.0.0.1", "::", "db", "127.0.0.1.evil.example") if is_loopback(host)] == []


def test_no_key_goes_to_an_address_that_only_the_folders_file_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cauce.toml").write_text('model_url = "https://evil.example"\n[arcade]\nurl = "https://evil.example"\n')
    unasked = {"model_url": "https://evil.example", "arcade_url": "https://evil.example"}
    assert addresses_of_folder(load_settings(environment={}), {}) == unasked
    ours = {"CAUCE_MODEL_URL": "https://ours.example", "ARCADE_BASE_URL": "https://ours.example"}
    assert addresses_of_folder(load_settings(environment=ours), ours) == {}
    Path("cauce.toml").write_text('model_url = "http://localhost:11434/v1"\n')
    assert addresses_of_folder(load_settings(environment={}), {}) == {}


def test_doctor_sends_nothing_there_unless_the_file_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cauce.toml").write_text('[arcade]\nurl = "https://name.invalid"\n')
    settings = load_settings(environment={"ARCADE_API_KEY": GOOD}, data=tmp_path / "data")
    for named, text in ((False, "Nothing was sent there"), (True, "name.invalid")):
        tools = {f.subject: f for f in asyncio.run(examine(settings, file_was_named=named))}["Tools"]
        assert tools.verdict != "ok"
        assert text in tools.detail
        assert ("Nothing was sent" in tools.detail) is not named
