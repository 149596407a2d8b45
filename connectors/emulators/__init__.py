"""Emulators of an Arcade engine, Gmail and Asana, in one process on the loopback interface.

For trying Cauce without accounts, and for tests. They implement the real protocols over a socket and identify themselves as
emulators. Accepted side effects are counted, so that a repeated one is visible. Start with `python -m connectors.emulators`.
"""

from connectors.connector import Connector
from connectors.emulators.emulator_process import EmulatorProcess

__all__ = ["CONNECTOR", "EmulatorProcess"]

CONNECTOR = Connector(name="emulators")
