"""Clients that npm publishes, unmodified, in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from door import Door


def node(folder: Path, script: str, *arguments: str) -> Any:
    """What a script tells at its end; every promise in it held."""
    program = shutil.which("node")
    assert program
    done = subprocess.run(
        [program, script, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def test_langgraph_client_converses_approves_and_rejoins(door: Door, home_key: str, javascript: Path) -> None:
    told = node(javascript, "langgraph.mjs", f"{door.url}/lg", home_key)
    assert told["parts"] > 5


def test_langgraph_client_runs_hosted_graphs(door: Door, home_key: str, javascript: Path) -> None:
    told = node(javascript, "graphs.mjs", f"{door.url}/lg", home_key)
    assert told["joined"] > 10


def test_langgraph_client_shows_each_projection_of_a_thread(door: Door, home_key: str, javascript: Path) -> None:
    assert node(javascript, "threads.mjs", f"{door.url}/lg", home_key) == {"ok": True}


def test_agui_client_converses_and_approves(door: Door, home_key: str, javascript: Path) -> None:
    told = node(javascript, "agui.mjs", f"{door.url}/agui", home_key)
    assert told["messages"] >= 6
