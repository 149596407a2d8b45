"""Starts the emulators: `python -m connectors.emulators --data DIR [--port N] [--port-file FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
from pathlib import Path
from typing import Any

from schemas.common.clock import utc_now
from schemas.common.private_files import keep_files_private, make_private_folder

os.environ["OTEL_SDK_DISABLED"] = "true"
os.environ["ARCADE_USAGE_TRACKING"] = "0"


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m connectors.emulators", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder for mailboxes, tasks and the API key")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 means any free one")
    parser.add_argument(
        "--port-file", type=Path, help="file to write when the server listens: JSON with base_url, api_key, pid"
    )
    parser.add_argument("--no-auto-connect", action="store_true", help="start without connected user accounts")
    options = parser.parse_args()
    keep_files_private()
    asyncio.run(serve(options))


async def serve(options: argparse.Namespace) -> None:
    """Runs the server and writes its address."""
    import uvicorn

    from connectors.emulators.cutting import CuttingProtocol
    from connectors.emulators.emulated_data import Store
    from connectors.emulators.emulator_server import create_app
    from connectors.emulators.engine import Engine
    from connectors.emulators.services import SERVICES

    make_private_folder(options.data)
    api_key = kept_key(options.data / "arcade.key")
    sock = socket.create_server(("127.0.0.1", options.port))
    base_url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    SERVICES.base_url = base_url
    secret = secrets.token_hex(16)  # noqa: TID251
    arcade = Engine(secret, auto_connect=not options.no_auto_connect, base_url=base_url)
    store = Store(options.data / "accounts.json", utc_now().astimezone())
    config = uvicorn.Config(
        create_app(store, arcade, api_key), http=CuttingProtocol, log_level="warning", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    handed_over = {"base_url": base_url, "api_key": api_key, "pid": os.getpid()}
    if options.port_file:
        write_private(options.port_file, json.dumps(handed_over))
    print(f"emulators at {base_url}", flush=True)  # noqa: T201  # the parent process waits for this line
    await serving


def kept_key(path: Path) -> str:
    """The API key of this data folder, created at the first start."""
    if not path.exists():
        write_private(path, f"emu_{secrets.token_hex(16)}")  # noqa: TID251
    return path.read_text().strip()


def write_private(path: Path, text: str) -> None:
    """Writes a file atomically, readable only by its owner."""
    temporary: Any = path.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
