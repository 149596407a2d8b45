"""Emulated outside: an Arcade engine, Gmail and Asana, in one process on loopback.

For trying Cauce without accounts, and for tests. They speak the real protocols over a socket and say that they are
emulators; what they accept is counted, so that a repeated side effect is seen. Start with `python -m connectors.emulators`.
"""

from connectors.connector import Connector
from connectors.emulators.emulator_process import EmulatorProcess

__all__ = ["CONNECTOR", "EmulatorProcess"]

CONNECTOR = Connector(name="emulators")
