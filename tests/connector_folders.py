"""Folders that are in connectors/ for the time of a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import connectors as room
from connectors.connector import connectors


@contextmanager
def added_folder(where: Path, files: Mapping[str, str]) -> Iterator[None]:
    """The room with these files, by their paths in it."""
    for name, text in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text)
    room.__path__.append(str(where))
    connectors.cache_clear()
    try:
        yield
    finally:
        room.__path__.remove(str(where))
        connectors.cache_clear()
        for name in {Path(name).parts[0] for name in files}:
            for module in [m for m in sys.modules if m.startswith(f"{room.__name__}.{name}")]:
                del sys.modules[module]
