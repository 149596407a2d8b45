"""One worker process of a measurement: `python -m bench.worker GROUP...`, the same as `cauce work`."""

from __future__ import annotations

import asyncio
import sys

from cauce.settings import load_settings
from cauce.telemetry import set_up_logging
from cauce.worker import run_worker

if __name__ == "__main__":
    settings = load_settings()
    set_up_logging(settings)
    asyncio.run(run_worker(settings, sys.argv[1:], on_ready=lambda health, *_: print("ready", health, flush=True)))
