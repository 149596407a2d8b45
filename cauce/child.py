"""Runs a module of ours as a child that does not outlive its parent: `python -m cauce.child MODULE ARGUMENTS...`.

The parent holds the other end of our standard input. When that closes, the parent is gone, however it died, and nobody is
left to stop us or to start us again: so we end as it did, immediately. A crash at any moment is something every part recovers
from; a second broker or worker over the same data folder, started by the next `cauce up`, is something nobody asked for.
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
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
