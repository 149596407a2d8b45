"""Settings: where they come from, which one wins, and what is said about a wrong one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from cauce.settings import Settings, all_settings, load_settings, unknown_variables, variables
from cauce.settings_page import page
from connectors.arcade import ArcadeSettings
from schemas import SettingsError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(environment: dict[str, str] | None = None, **given: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(environment=environment or {}, **given)
    words = str(caught.value)
    assert "\n" not in words
    assert "pydantic" not in words
    return words


def test_without_anything_the_system_of_this_machine_is_meant() -> None:
    settings = load_settings(environment={})
    assert settings == Settings()
    assert settings.embedded
    assert settings.state_url == f"sqlite://{Path.cwd() / 'var' / 'state'}"


def test_the_command_line_wins_over_variables_and_variables_over_the_file() -> None:
    Path("cauce.toml").write_text('model = "a"\nuser = "a"\ntenant = "a"\n')
    settings = load_settings(environment={"CAUCE_USER": "b", "CAUCE_TENANT": "b"}, tenant="c", model=None)
    assert (settings.model, settings.user, settings.tenant) == ("a", "b", "c")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings(environment={"CAUCE_KAFKA": "", "CAUCE_MAX_RUNNING": ""}) == Settings()


def test_arcades_own_variables_are_understood_and_ours_win() -> None:
    theirs = {"ARCADE_API_KEY": "theirs", "ARCADE_BASE_URL": "https://their.example/"}
    settings = load_settings(environment=theirs)
    arcade = settings.of(ArcadeSettings)
    assert arcade.url == "https://their.example"
    assert arcade.api_key
    assert arcade.api_key.get_secret_value() == "theirs"
    ours = load_settings(environment={**theirs, "CAUCE_ARCADE_API_KEY": "ours"}).of(ArcadeSettings).api_key
    assert ours
    assert ours.get_secret_value() == "ours"


def test_a_data_folder_in_the_file_is_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "settings.toml"
    file.write_text('data = "here"\n')
    assert load_settings(file, environment={}).data == tmp_path / "etc" / "here"
    assert load_settings(environment={"CAUCE_CONFIG": str(file)}).data == tmp_path / "etc" / "here"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("kafka", "nowhere", "host:port"),
        ("kafka", "127.0.0.1:99999", "host:port"),
        ("cassandra", "127.0.0.1:9042,", "host:port"),
        ("arcade_url", "ftp://example.org", "http"),
        ("model_url", "localhost", "http"),
        ("otlp_endpoint", "https://", "http"),
        ("tenant", "Upper Case", "lower-case"),
        ("user", "somebody:else", "letters"),
        ("partitions_conversation", "0", "greater than or equal to 1"),
        ("replication", "many", "valid integer"),
        ("broker_port", "70000", "less than or equal to 65535"),
        ("session_timeout_ms", "10", "greater than or equal to 6000"),
        ("grace_seconds", "-1", "greater than or equal to 0"),
        ("log_level", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("log_format", "xml", "'text' or 'json'"),
        ("model", " " * 0 or "", "at least 1 character"),
    ],
)
def test_a_wrong_value_is_named_with_its_origin_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    if value:
        words = refused({f"CAUCE_{name.upper()}": value})
        assert f"in the environment variable CAUCE_{name.upper()}" in words
        words += refused(**{name: value})
    else:
        words = refused(**{name: value})
    assert re.search(rf"\b{name} is '{re.escape(value)}' in the command line", words)
    assert allowed in words


def test_all_wrong_values_are_named_at_once() -> None:
    words = refused({"CAUCE_REPLICATION": "0", "CAUCE_LOG_LEVEL": "loud"})
    assert "CAUCE_REPLICATION" in words
    assert "CAUCE_LOG_LEVEL" in words


def test_a_misspelt_setting_in_the_file_is_refused_with_the_right_name() -> None:
    Path("cauce.toml").write_text("max_runing = 3\n")
    assert refused() == "cauce.toml: there is no setting 'max_runing'; did you mean 'max_running'?"


def test_a_wrong_value_in_the_file_is_named_with_the_file() -> None:
    Path("cauce.toml").write_text('max_running = "lots"\n')
    assert refused().startswith("max_running is 'lots' in cauce.toml, but it should be a valid integer")


def test_a_file_that_cannot_be_understood_or_found_is_named(tmp_path: Path) -> None:
    Path("cauce.toml").write_text("tenant = \n")
    assert "cauce.toml is not TOML" in refused()
    Path("cauce.toml").write_bytes(b"\xff\xfe\x00")
    assert "cauce.toml cannot be read" in refused()
    assert "does not exist" in refused({"CAUCE_CONFIG": str(tmp_path / "none.toml")})
    assert "cannot be read" in refused({"CAUCE_CONFIG": str(tmp_path)})


def test_a_secret_is_in_no_message_and_no_picture_of_the_settings() -> None:
    Path("cauce.toml").write_text('arcade_api_key = ["hunter2"]\n')
    assert "hunter2" not in refused()
    settings = load_settings(environment={}, arcade_api_key="hunter2")
    arcade = settings.of(ArcadeSettings)
    assert (
        "hunter2"
        not in f"{arcade!r} {arcade} {arcade.model_dump_json()} {settings!r} {settings} {settings.model_dump_json()}"
    )


def test_a_variable_with_our_prefix_that_means_nothing_is_found() -> None:
    environment = {"CAUCE_KAFKAS": "1", "CAUCE_KAFKA": "1", "CAUCE_DEBUG": "1", "KAFKA": "1"}
    assert unknown_variables(environment) == ["CAUCE_KAFKAS"]


def test_every_setting_says_what_it_is_for_and_has_a_variable() -> None:
    for name, field in all_settings().items():
        assert field.description, name
        assert variables()[name][0] == f"CAUCE_{name.upper()}"


def test_sections_are_tables_of_the_file_and_their_settings_have_whole_names_too() -> None:
    Path("cauce.toml").write_text('rate_user = "1/minute"\n[gateway]\nport = 1\nhost = "::1"\n[log]\nlevel = "DEBUG"\n')
    settings = load_settings(environment={"CAUCE_GATEWAY_PORT": "2"})
    assert (settings.gateway.port, settings.gateway.host, settings.rate.user) == (2, "::1", "1/minute")
    assert settings.log.level == "debug"
    assert load_settings(environment={}, gateway_port=3).gateway.port == 3


def test_a_connector_s_settings_are_a_section_with_its_name() -> None:
    Path("cauce.toml").write_text('[arcade]\nurl = "http://127.0.0.1:1"\n')
    settings = load_settings(environment={"CAUCE_ARCADE_API_KEY": "k"})
    assert settings.of(ArcadeSettings) == ArcadeSettings(url="http://127.0.0.1:1", api_key=SecretStr("k"))
    Path("cauce.toml").write_text('[arcade]\nurl = "127.0.0.1:1"\nmodel = 3\n')
    assert refused() == "cauce.toml: [arcade] has no setting 'model'. The settings are: api_key, url"
    Path("cauce.toml").write_text('arcade_url = "127.0.0.1:1"\nmax_running = 0\n')
    words = refused()
    assert "arcade_url is '127.0.0.1:1' in cauce.toml, but it must be a URL" in words
    assert "max_running is 0" in words


def test_what_is_wrong_in_a_section_is_named_with_the_section() -> None:
    Path("cauce.toml").write_text("[gateway]\nprot = 1\n")
    assert refused() == "cauce.toml: [gateway] has no setting 'prot'; did you mean 'port'?"
    Path("cauce.toml").write_text("[gateway]\nport = -1\n")
    assert refused().startswith("gateway_port is -1 in [gateway] of cauce.toml, but it should be greater than")
    Path("cauce.toml").write_text("gateway = 8123\n")
    assert refused() == "cauce.toml: gateway is a table; write [gateway] and its settings below"


def test_page_of_settings_is_what_the_settings_are() -> None:
    copy = Path(__file__).parents[2] / "docs" / "settings.md"
    assert copy.read_text() == page(), "write it again with: cauce settings --out docs/settings.md"


def test_graphs_stand_in_a_table_of_the_file_or_in_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "etc.toml"
    file.write_text(
        'model = "rules"\n[graphs]\nagent = "./agent.py:graph"\n"with-dash" = "package.module:made.graph"\n'
    )
    settings = load_settings(file, environment={})
    assert settings.graphs == {"agent": "./agent.py:graph", "with-dash": "package.module:made.graph"}
    assert (settings.file, settings.folder) == (file, tmp_path)
    other = load_settings(file, environment={"CAUCE_GRAPHS": "a=m:x, b = ./c.py:y,"})
    assert other.graphs == {"a": "m:x", "b": "./c.py:y"}
    assert load_settings(environment={}).folder == Path()


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("agent", "name=module:object"),
        ("a:b=m:x", "letters"),
        ("agent=module", "module:object"),
        ("agent=:x", "module:object"),
    ],
)
def test_graphs_that_cannot_be_are_refused_in_words(value: str, allowed: str) -> None:
    words = refused({"CAUCE_GRAPHS": value})
    assert "CAUCE_GRAPHS" in words
    assert allowed in words


def test_a_graph_that_is_no_text_is_refused_in_words() -> None:
    Path("cauce.toml").write_text("[graphs]\nagent = 5\n")
    assert "graphs is {'agent': 5} in cauce.toml" in refused()


def test_files_are_utf_8_whatever_the_locale_and_whether_marked_or_not(tmp_path: Path) -> None:
    Path("cauce.toml").write_bytes('\ufeffmodel = "modèle"\nlanggraph = "langgraph.json"\n'.encode())
    Path("langgraph.json").write_bytes('\ufeff{"graphs": {"g": "./g.py:graph"}, "env": ".env"}'.encode())
    Path(".env").write_bytes("\ufeffNAME=été\n".encode())
    script = "from cauce.hosting import hosting_of; from cauce.settings import load_settings; s = load_settings(); "
    script += "print(ascii([s.model, hosting_of(s).env]))"
    other = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    out = subprocess.run(
        [sys.executable, "-c", script], env=other, capture_output=True, text=True, check=True, timeout=120
    )
    assert out.stdout.strip() == ascii(["modèle", {"NAME": "été"}])


def test_variables_that_kubernetes_makes_of_a_service_are_no_settings() -> None:
    made = {"CAUCE_GATEWAY_PORT": "tcp://10.0.0.1:8123", "CAUCE_GATEWAY_SERVICE_HOST": "10.0.0.1"}
    made |= {"CAUCE_GATEWAY_SERVICE_PORT": "8123", "CAUCE_GATEWAY_PORT_8123_TCP": "tcp://10.0.0.1:8123"}
    made |= {"CAUCE_WORKER_SERVICE_HOST": "10.0.0.2", "CAUCE_WORKER_PORT": "tcp://10.0.0.2:80"}
    assert load_settings(environment=made).gateway.port is None
    assert unknown_variables(made) == []
    assert load_settings(environment={**made, "CAUCE_GATEWAY_PORT": "9000"}).gateway.port == 9000
    assert "gateway_port is 'tcp://10.0.0.1:8123'" in refused({"CAUCE_GATEWAY_PORT": "tcp://10.0.0.1:8123"})


def test_setting_that_stands_in_its_table_and_outside_is_refused() -> None:
    Path("cauce.toml").write_text("gateway_port = 1000\n[gateway]\nport = 2000\n")
    assert "'port' of [gateway] also stands outside as gateway_port" in refused()
