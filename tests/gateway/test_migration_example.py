"""The application of docs/migrate-from-langgraph.md runs as the page says, with the files that it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from running_system import RunningSystem

from cauce.running import find_gateway
from cauce.settings import load_settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migrate-from-langgraph.md").read_text()
APPLICATION = ROOT / "examples" / "langgraph_app"


def block(language: str) -> str:
    """The first code block of this language on the page."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
    assert found
    return found[1]


def test_page_shows_the_files_of_the_example() -> None:
    assert block("json") == (APPLICATION / "langgraph.json").read_text()
    assert block("toml") == (APPLICATION / "cauce.toml").read_text()


def test_langgraph_application_and_its_client_run_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "application"
    shutil.copytree(APPLICATION, folder)
    system = RunningSystem(folder, CAUCE_GATEWAY_PORT="0")
    try:
        system.start()
        gateway = find_gateway(load_settings(environment=system.environment))
        assert gateway
        key = system.told("tenant", "key", "create", "home").strip()
        client = subprocess.run(
            [sys.executable, "client.py"],
            env={**system.environment, "LANGGRAPH_URL": f"{gateway.url}/lg", "LANGGRAPH_KEY": key},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        system.end()
    assert client.returncode == 0, client.stderr
    _, _, printed = block("console").partition("$ python client.py\n")
    assert client.stdout == printed
