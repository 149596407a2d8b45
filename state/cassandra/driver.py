"""Whether the driver can be used here. Imports nothing of it before that is known."""

from __future__ import annotations

import importlib

from schemas import SettingsError


def check_driver() -> None:
    """Raises `SettingsError` when the driver came without libev, the event loop that we use it with.

    Python 3.12 has no `asyncore`, the one that the driver falls back to; without libev it cannot even be imported.
    """
    try:
        importlib.import_module("cassandra.io.libevreactor")
    except Exception as error:
        raise SettingsError(
            f"the Cassandra driver cannot load its libev extension ({error}). Its wheels for Linux and macOS bring it: "
            "reinstall cassandra-driver from a wheel, or install libev (Debian: libev-dev) and build it again."
        ) from error
