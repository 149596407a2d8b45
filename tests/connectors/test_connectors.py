"""What connectors declare in their folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from connector_folders import added_folder

import connectors as room
from cauce.settings import SECTIONS, Settings
from connectors.connector import Connector, connectors
from connectors.toolsets import made_toolsets
from schemas import SettingsError


def test_every_folder_declares_a_connector_of_its_name() -> None:
    (where,) = room.__path__
    folders = sorted(one.parent.name for one in Path(where).glob("*/__init__.py"))
    assert [one.name for one in connectors()] == folders


@pytest.mark.parametrize(
    "declared",
    ["", "CONNECTOR = 3", "from connectors.connector import Connector\nCONNECTOR = Connector(name='other')"],
    ids=["nothing", "something else", "another name"],
)
def test_a_folder_that_declares_nothing_or_the_wrong_thing_is_named(tmp_path: Path, declared: str) -> None:
    with added_folder(tmp_path, {"odd/__init__.py": declared}), pytest.raises(TypeError) as raised:
        connectors()
    assert "connectors/odd/__init__.py must declare CONNECTOR = Connector(name='odd', ...)" in str(raised.value)


@pytest.mark.parametrize("connector", connectors(), ids=lambda connector: connector.name)
def test_a_connector_with_settings_has_a_section_of_its_own(connector: Connector) -> None:
    if connector.settings.model_fields:
        assert connector.name not in Settings.model_fields
        assert SECTIONS[connector.name] is connector.settings
    assert connector.settings() == Settings().connectors[connector.name], "every setting has a default"


@pytest.mark.parametrize(
    "connector", [one for one in connectors() if one.toolset], ids=lambda connector: connector.name
)
def test_a_connector_with_tools_says_how_they_are_set_up_where_they_are_not(connector: Connector) -> None:
    assert connector.toolset
    assert connector.toolset(connector.settings()) is not None or connector.unset
    with pytest.raises(SettingsError, match=r"no toolset is configured: for arcade, set ARCADE_API_KEY"):
        made_toolsets(Settings().connectors)


def test_the_toolset_of_the_documentation_is_set_up_by_its_settings_alone(tmp_path: Path) -> None:
    code = """
import os
import subprocess
import sys
from pathlib import Path
import os
import subprocess
import sys
from connector_folders import added_folder
from extending_page import example_files
with added_folder(Path(sys.argv[1]), example_files("connectors/")):
    from cauce.settings import load_settings
    from connectors.toolsets import made_toolsets
    Path("cauce.toml").write_text('[notes]\\nurl = "http://127.0.0.1:1"')
    for environment in ({}, {"ARCADE_API_KEY": "k"}):
        print([one.id for one in made_toolsets(load_settings(environment=environment).connectors).all])
    try:
        load_settings(environment={"CAUCE_NOTES_URL": "nowhere"})
    except Exception as error:
        print(error)
"""
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with_notes, with_both, wrong = done.stdout.splitlines()
    assert (with_notes, with_both) == ("['notes']", "['arcade', 'notes']")
    assert "notes_url is 'nowhere' in the environment variable CAUCE_NOTES_URL, but it must be a URL" in wrong
