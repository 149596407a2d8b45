"""Starts the embedded broker: `python -m streams.embedded --data DIR [--port N] [--port-file FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from schemas import SettingsError
from schemas.common.private_files import keep_files_private
from schemas.common.server_access import read_secret
from schemas.common.serving import TaskWatch


def main() -> int:
    """Serves until SIGTERM or SIGINT. Exit code 1 when the folder or the port cannot be had."""
    keep_files_private()
    parser = argparse.ArgumentParser(prog="python -m streams.embedded", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder for the logs; one broker at a time may use it")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes any free one")
    parser.add_argument("--port-file", type=Path, help="gets HOST:PORT once the broker listens")
    parser.add_argument("--password-file", type=Path, help="file with the password that clients must know")
    parser.add_argument(
        "--fsync", choices=("interval", "always"), default="interval", help="when data reaches the disk"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return asyncio.run(serve(options))


async def serve(options: argparse.Namespace) -> int:
    """Runs the broker until it is stopped, or a task of it has ended: exit code 1."""
    stop = asyncio.Event()
    watch = TaskWatch(on_end=lambda task: stop.set())
    with watch.watching():
        code = await _serve(options, stop)
    return 1 if watch.ended else code


async def _serve(options: argparse.Namespace, stop: asyncio.Event) -> int:
    from streams.embedded.broker_server import Broker
    from streams.embedded.storage import FolderInUse

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        file = options.password_file
        broker = Broker(options.data, password=file and read_secret(file, "--password-file"), fsync=options.fsync)
    except (FolderInUse, OSError, SettingsError) as error:
        print(f"the broker cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        port = await broker.start(options.port)
    except OSError as error:
        print(f"the broker cannot listen on port {options.port}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    address = f"127.0.0.1:{port}"
    if options.port_file:
        temporary = options.port_file.with_suffix(".tmp")
        temporary.write_text(address)
        os.replace(temporary, options.port_file)
    print(address, flush=True)  # noqa: T201  # the line that whoever started this waits for
    await stop.wait()
    await broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
