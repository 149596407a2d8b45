"""The embedded Kafka broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cauce.program import Program, basic_variables, run_folder
from cauce.running import broker_password_file, embedded_access
from cauce.settings import Settings
from schemas.common.private_files import made_secret


def _arguments(settings: Settings) -> Sequence[str]:
    port, file = str(settings.broker.port), str(run_folder(settings.data) / PROGRAM.file)
    password = broker_password_file(settings.data)
    made_secret(password)
    return (
        *("streams.embedded", "--data", str(settings.data / "kafka"), "--port", port, "--port-file", file),
        *("--password-file", str(password)),
    )


async def _make_topics(settings: Settings, address: str) -> Mapping[str, Any]:
    from streams import topic_admin

    kafka = embedded_access(settings.data).servers(address)
    await topic_admin.apply(kafka, partitions=settings.partition_counts)
    return {"kafka": address, "kafka_closed": True}


PROGRAM = Program(
    name="broker",
    arguments=_arguments,
    file="kafka",
    address=lambda text: f"//{text}",
    then=_make_topics,
    variables=basic_variables,
    stop_seconds=5,
)
