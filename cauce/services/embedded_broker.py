"""The embedded Kafka broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cauce.program import Program, run_folder
from cauce.settings import Settings


def _arguments(settings: Settings) -> Sequence[str]:
    port, file = str(settings.broker.port), str(run_folder(settings.data) / PROGRAM.file)
    return ("streams.embedded", "--data", str(settings.data / "kafka"), "--port", port, "--port-file", file)


async def _make_topics(settings: Settings, address: str) -> Mapping[str, Any]:
    from streams import topic_admin

    await topic_admin.apply(address, partitions=settings.partition_counts)
    return {"kafka": address}


PROGRAM = Program(
    name="broker",
    arguments=_arguments,
    file="kafka",
    address=lambda text: f"//{text}",
    then=_make_topics,
    stop_seconds=5,
)
