"""`cauce chat --url`: the terminal over HTTP."""

from __future__ import annotations

import uuid

from door import Door
from terminal import chatting


def test_conversation_of_the_readme_over_http(door: Door, home_key: str) -> None:
    environment, thread = {**door.environment, "CAUCE_KEY": home_key}, f"h-{uuid.uuid4().hex}"
    with chatting(environment, "--url", door.url, "--thread", thread) as terminal:
        terminal.type("What mail do I have?")
        terminal.sees("→ Gmail_ListEmails")
        terminal.sees("8 mails")
        terminal.sees("you ›")
        terminal.type("create a task to call Ana tomorrow")
        terminal.sees("? Asana: create task  Asana_CreateTask")
        terminal.sees("[l]ater")
        terminal.press("a")
        terminal.sees("✓ Asana_CreateTask ok")
        terminal.sees("you ›")
        terminal.type("/history")
        terminal.sees("create a task to call Ana tomorrow")
        terminal.sees("you ›")
        terminal.type("/threads")
        terminal.sees(thread)
        terminal.sees("you ›")
        terminal.press("\x04")
        assert terminal.process.wait(120) == 0


def test_key_that_is_wrong_is_said_at_once(door: Door) -> None:
    import subprocess
    import sys

    told = subprocess.run(
        [sys.executable, "-m", "cauce", "chat", "--url", door.url],
        env={**door.environment, "CAUCE_KEY": "ck.home.0.wrong"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 2
    assert "not valid" in told.stderr
