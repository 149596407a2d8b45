"""Another user of the machine, who reaches every port of `cauce up`: nothing can be written, decided or read."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError
from door import Door

from cauce.running import broker_password_file, emulators_file, find_running
from cauce.settings import load_settings
from schemas import Topic
from streams.kafka_servers import Kafka, KafkaServers, new_producer

NOBODY = 65534
IS_ROOT = os.geteuid() == 0
"""Who is not cannot become another user; the ports are then tried as oneself, and the folder is known by its modes."""


def _as_nobody(attempts: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What these find out in a process of another user."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if IS_ROOT:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            os.write(writing, json.dumps(attempts()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as found:
        told = found.read()
    os.waitpid(child, 0)
    result: dict[str, Any] = json.loads(told)
    return result


def _write(kafka: Kafka) -> str:
    async def write() -> None:
        producer = new_producer(bootstrap_servers=kafka, request_timeout_ms=5000)
        try:
            await producer.start()
            await producer.send_and_wait(Topic.CHAT_MESSAGES.value, b"{}")
        finally:
            await producer.stop()

    try:
        asyncio.run(write())
    except KafkaError as error:
        return type(error).__name__
    return "written"


def _status(address: str, path: str) -> int:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=120)
    connection.request("GET", path)
    return connection.getresponse().status


def _list(folder: Path) -> str:
    try:
        return ", ".join(os.listdir(folder))
    except PermissionError:
        return "denied"


def test_another_user_of_the_machine_can_write_nothing_and_read_nothing(embedded: Door) -> None:
    settings = load_settings(environment=embedded.environment)
    address = find_running(settings).kafka
    assert address
    emulators = json.loads(emulators_file(settings.data).read_text())["base_url"]
    gateway, data = embedded.url, settings.data

    found = _as_nobody(
        lambda: {
            "without a password": _write(address),
            "with a guess": _write(KafkaServers(address, "cauce", "cauce")),
            "data folder": _list(data) if IS_ROOT else "denied",
            **{path: _status(emulators, path) for path in ("/", "/_ctl/effects", "/v1/tools", "/worker/tools")},
            "/v1/me": _status(gateway, "/v1/me"),
        }
    )
    assert found == {
        "without a password": "KafkaConnectionError",
        "with a guess": "KafkaConnectionError",
        "data folder": "denied",
        **dict.fromkeys(("/_ctl/effects", "/", "/v1/tools"), 401),
        "/worker/tools": found["/worker/tools"],
        "/v1/me": 401,
    }
    assert found["/worker/tools"] in (401, 403)
    assert broker_password_file(data).stat().st_mode & 0o777 == 0o600
    for path in (data, *data.rglob("*")):
        if not path.is_socket():
            assert not path.stat().st_mode & 0o077, f"{path} is open for others"
