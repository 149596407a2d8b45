"""One worker process of a measurement: `python -m bench.worker GROUP...`, the same as `cauce work`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from cauce.service import run_service
from cauce.services.worker_service import worker_service
from cauce.settings import load_settings
from cauce.telemetry import set_up_logging


def work(groups: Sequence[str]) -> None:
    """Runs a worker of the groups until it is stopped; prints a line once it has its slots."""
    settings = load_settings()
    set_up_logging(settings)
    asyncio.run(
        run_service(worker_service(groups), settings, on_ready=lambda note: print("ready", note.health, flush=True))
    )


if __name__ == "__main__":
    work(sys.argv[1:])
