"""Names, passwords and TLS of the servers: what fits together, what is said of what does not, and no secret is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cauce.settings import load_settings
from connectors.gateway.limits import Budgets, Rates
from deploy.cluster.certificates import Authority
from schemas import SettingsError
from schemas.common.server_access import without_credentials
from state.cassandra.connecting import CassandraOptions
from streams.kafka_servers import KafkaServers, client_options

SECRET = "s3cret-0f-n0body"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(**environment: str) -> str:
    """What is said about these variables, when they are read or used."""

    def read_and_use() -> None:
        settings = load_settings(environment=environment)
        assert settings.kafka_servers, settings.store_options
        settings.redis_access.store(settings.redis)

    with pytest.raises(SettingsError) as caught:
        read_and_use()
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("server", ["kafka", "cassandra", "redis"])
def test_a_server_is_given_a_name_a_password_file_and_certificates_by_table_or_variable(
    tmp_path: Path, server: str
) -> None:
    authority = Authority(tmp_path / "authority")
    mine = authority.issue("me")
    (tmp_path / "password").write_text(f"{SECRET}\n")
    Path("cauce.toml").write_text(
        f'{server} = "{"redis://" if server == "redis" else ""}h:1"\n[{server}_access]\nuser = "me"\ntls = true\n'
        f'password_file = "password"\nca_file = "authority/ca.pem"\ncert_file = "authority/me.pem"\nkey_file = "{mine.key}"\n'
    )
    by_file = load_settings(environment={})
    access = getattr(by_file, f"{server}_access")
    assert access.secret() == SECRET
    assert access.tls_context().check_hostname
    upper = f"CAUCE_{server.upper()}"
    Path("cauce.toml").unlink()
    given = {f"{upper}_USER": "me", f"{upper}_TLS": "true", f"{upper}_PASSWORD": SECRET, f"{upper}_CHECK_HOST": "false"}
    by_variable = getattr(load_settings(environment=given), f"{server}_access")
    assert by_variable.secret() == SECRET
    assert not by_variable.tls_context().check_hostname
    assert SECRET not in repr(by_variable)


def test_clients_get_the_name_the_password_and_tls(tmp_path: Path) -> None:
    ca = Authority(tmp_path / "authority").ca
    environment = {
        "CAUCE_KAFKA": "a:1,b:2",
        "CAUCE_KAFKA_USER": "me",
        "CAUCE_KAFKA_PASSWORD": SECRET,
        "CAUCE_KAFKA_TLS": "1",
        "CAUCE_KAFKA_CA_FILE": str(ca),
        "CAUCE_CASSANDRA": "c:3",
        "CAUCE_CASSANDRA_USER": "me",
        "CAUCE_CASSANDRA_PASSWORD": SECRET,
        "CAUCE_REDIS": "redis://r:4",
        "CAUCE_REDIS_TLS": "1",
        "CAUCE_REDIS_PASSWORD": SECRET,
        "CAUCE_REDIS_CA_FILE": str(ca),
    }
    settings = load_settings(environment=environment)
    options = client_options(settings.kafka_servers)
    assert (options["security_protocol"], options["sasl_mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert options["bootstrap_servers"] == "a:1,b:2"
    assert settings.store_options == {"username": "me", "password": SECRET}
    url, redis = settings.redis_access.store(settings.redis)
    assert (url, redis["password"], redis["ssl_ca_certs"]) == ("rediss://r:4", SECRET, str(ca))
    shown = [
        settings,
        settings.kafka_servers,
        str(settings.kafka_servers),
        settings.state_url,
        Rates(store=url, access=redis),
    ]
    shown += [CassandraOptions(("c",), "k", **settings.store_options)]
    assert SECRET not in repr(shown)


def test_only_tls_only_a_password_and_nothing_are_ways_to_kafka() -> None:
    assert client_options("a:1") == {"bootstrap_servers": "a:1"}
    assert client_options(KafkaServers("a:1", "me", SECRET))["security_protocol"] == "SASL_PLAINTEXT"
    assert "ssl_context" not in client_options(KafkaServers("a:1", "me", SECRET))
    tls = load_settings(environment={"CAUCE_KAFKA": "a:1", "CAUCE_KAFKA_TLS": "1"}).kafka_servers
    assert client_options(tls)["security_protocol"] == "SSL"
    assert "sasl_mechanism" not in client_options(tls)


def test_what_does_not_fit_together_is_said_and_no_secret_with_it(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "two").write_text(f"{SECRET}\n{SECRET}\n")
    mine, other = (Authority(tmp_path / name).issue("me") for name in ("a", "b"))
    kafka = {"CAUCE_KAFKA": "a:1"}
    for words, given in (
        ("kafka_user needs kafka_password_file", {"CAUCE_KAFKA_USER": "me"}),
        ("without kafka_user", {"CAUCE_KAFKA_PASSWORD": SECRET}),
        ("both set", {"CAUCE_KAFKA_USER": "m", "CAUCE_KAFKA_PASSWORD": SECRET, "CAUCE_KAFKA_PASSWORD_FILE": "two"}),
        ("kafka_ca_file has no use without kafka_tls", {"CAUCE_KAFKA_CA_FILE": "empty"}),
        ("kafka_key_file has no use", {"CAUCE_KAFKA_TLS": "1", "CAUCE_KAFKA_KEY_FILE": "empty"}),
        ("kafka_ca_file empty cannot be used", {"CAUCE_KAFKA_TLS": "1", "CAUCE_KAFKA_CA_FILE": "empty"}),
        ("kafka_ca_file none cannot be used: No such file", {"CAUCE_KAFKA_TLS": "1", "CAUCE_KAFKA_CA_FILE": "none"}),
        ("none cannot be read: No such file", {"CAUCE_KAFKA_USER": "m", "CAUCE_KAFKA_PASSWORD_FILE": "none"}),
        ("empty must have one line", {"CAUCE_KAFKA_USER": "m", "CAUCE_KAFKA_PASSWORD_FILE": "empty"}),
        ("two must have one line", {"CAUCE_KAFKA_USER": "m", "CAUCE_KAFKA_PASSWORD_FILE": "two"}),
        (
            "do not belong together",
            {"CAUCE_KAFKA_TLS": "1", "CAUCE_KAFKA_CERT_FILE": str(mine.chain), "CAUCE_KAFKA_KEY_FILE": str(other.key)},
        ),
        ("kafka_mechanism is 'MD5'", {"CAUCE_KAFKA_MECHANISM": "MD5"}),
    ):
        assert words in refused(**kafka, **given)


def test_a_password_in_an_address_is_not_repeated() -> None:
    assert "(hidden)@" in refused(CAUCE_KAFKA=f"me:{SECRET}@h:1")
    assert "(hidden)@" in refused(CAUCE_CASSANDRA=f"me:{SECRET}@h:1")
    assert "(hidden)@" in refused(CAUCE_MODEL_URL=f"ftp://me:{SECRET}@h")
    with pytest.raises(SettingsError, match="hidden") as caught:
        Budgets(Rates(store=f"http://:{SECRET}@h"))
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(load_settings(environment={"CAUCE_REDIS": f"redis://:{SECRET}@h:1"}))
    assert without_credentials("redis://me:a/b@c@h:1/0") == "redis://(hidden)@h:1/0"
    assert without_credentials("redis://h:1/0") == "redis://h:1/0"
