"""A service as somebody adds one: this file is all of it. Run as a module it is what `cauce service ticking` would be."""

from __future__ import annotations

from pathlib import Path
from sys import argv

from cauce.running import ServiceNote
from cauce.service import Process, Service, run_here
from cauce.settings import Settings


async def _run(process: Process) -> None:
    async with process.opened():
        assert await process.stores.directory.tenants() == []
        process.ready(ServiceNote(title="Ticking", health=process.health_address))
        await process.stop.wait()
        (process.settings.data / "stopped").write_text("in order")


SERVICE = Service(name="ticking", run=_run, after=("broker",))

if __name__ == "__main__":
    run_here(SERVICE, Settings(data=Path(argv[argv.index("--data") + 1])), supervised=True)
