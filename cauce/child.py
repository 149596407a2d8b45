"""Runs one of our modules as a child that does not outlive its parent: `python -m cauce.child MODULE ARGUMENTS...`.

The parent holds the other end of our standard input. When it closes, the parent is gone, however it died, and nothing would
stop or restart this process: it exits immediately. Every part recovers from a crash at any moment, whereas a process left
behind would share the data folder with the broker or worker that the next `cauce up` starts.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    os.umask(0o077)  # what any part of ours writes is its owner's alone
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
