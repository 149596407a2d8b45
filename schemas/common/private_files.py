"""What is kept is its owner's alone: other users of the machine read neither folders nor files."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

_OTHERS = 0o077


def keep_files_private() -> None:
    """Files and folders that this process makes from now on are for its own user. Called first thing in every process."""
    os.umask(_OTHERS)


def make_private_folder(folder: Path) -> None:
    """Makes the folder where it is not there, and closes it for others. Raises `OSError` when it cannot be made."""
    folder.mkdir(parents=True, exist_ok=True)
    close_for_others(folder)


def made_secret(path: Path) -> str:
    """The secret in the file; where it is not there, it is made, of 32 random bytes. Raises `OSError`.

    It appears whole, and others cannot read it at any moment.
    """
    with contextlib.suppress(FileNotFoundError):
        close_for_others(path)
        if found := path.read_text().strip():
            return found
    secret, temporary = secrets.token_urlsafe(32), path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"{secret}\n")
    os.replace(temporary, path)
    return secret


def close_for_others(path: Path) -> None:
    """Takes the rights of others away, where it is there and may be changed by us; files of an older version had them."""
    with contextlib.suppress(OSError):
        if open_for_others(path):
            path.chmod(path.stat().st_mode & 0o700)


def open_for_others(path: Path) -> bool:
    """Whether other users of the machine may read, write or enter it. Raises `OSError` when it is not there."""
    return bool(path.stat().st_mode & _OTHERS)
