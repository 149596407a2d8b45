"""The data of the emulated services: one JSON file, replaced atomically at every change."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from connectors.emulators.seed import seeded


class Store:
    """Mailboxes, tasks and side effects. `data` is the whole content; call `save` after changing it."""

    def __init__(self, path: Path, now: datetime) -> None:
        self._path = path
        if path.exists():
            self.data: dict[str, Any] = json.loads(path.read_text())
        else:
            self.data = seeded(now)
            self.save()

    def save(self) -> None:
        """Writes everything atomically: after a crash the file has either the old or the new content."""
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.data, ensure_ascii=False))
        os.replace(temporary, self._path)

    def next_id(self) -> int:
        """A number that has not been used before."""
        self.data["last_id"] += 1
        return int(self.data["last_id"])

    def effect(self, kind: str, **details: Any) -> None:
        """Counts an accepted side effect."""
        self.data["effects"].append({"kind": kind, **details})

    @property
    def mails(self) -> list[dict[str, Any]]:
        """All mails of the owner's mailbox, oldest first."""
        mails: list[dict[str, Any]] = self.data["mails"]
        return mails

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """All tasks of the workspace."""
        tasks: list[dict[str, Any]] = self.data["tasks"]
        return tasks
