"""The embedded broker with a password: who knows it does everything, and nobody else anything."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.conn import ScramAuthenticator
from aiokafka.protocol.admin import SaslAuthenticateRequest_v0, SaslHandShakeRequest_v1
from aiokafka.protocol.metadata import MetadataRequest_v1

from schemas import PartitionSet, SettingsError, Unavailable
from schemas.common.private_files import made_secret, open_for_others
from streams import topic_admin
from streams.embedded.broker_server import Broker
from streams.embedded.sign_in import MAX_SIGN_IN_FRAME, USER, Password, SignIn
from streams.kafka_servers import Kafka, KafkaServers, new_producer
from streams.record_producer import RecordProducer

SECRET = "a-secret-of-the-test"
PARTITIONS = {PartitionSet.CONVERSATION: 1, PartitionSet.TENANT: 1}


@asynccontextmanager
async def broker(folder: Path, password: str | None = SECRET) -> AsyncIterator[str]:
    """A broker in this process; its address."""
    running = Broker(folder, password=password)
    try:
        yield f"127.0.0.1:{await running.start()}"
    finally:
        await running.stop()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256"])
async def test_who_knows_the_password_does_everything(tmp_path: Path, mechanism: str) -> None:
    async with broker(tmp_path) as address:
        kafka = KafkaServers(address, USER, SECRET, mechanism)
        await topic_admin.apply(kafka, partitions=PARTITIONS)
        producer = new_producer(bootstrap_servers=kafka, transactional_id="t")
        await producer.start()
        async with producer.transaction():
            await producer.send_and_wait("chat.messages", b"x")
        await producer.stop()


async def test_who_does_not_is_told_so_and_nothing_is_done(tmp_path: Path) -> None:
    async with broker(tmp_path) as address:
        wrong: list[tuple[Kafka, str]] = [
            (address, "it wants TLS or a password"),
            (KafkaServers(address, USER, "wrong"), "refuses the name or the password of the user cauce"),
            (KafkaServers(address, "somebody", SECRET), "refuses the name or the password of the user somebody"),
            (KafkaServers(address, USER, SECRET, "PLAIN"), "kafka_mechanism"),
        ]
        for kafka, words in wrong:
            with pytest.raises(SettingsError, match=words):
                await topic_admin.apply(kafka, partitions=PARTITIONS)
            with pytest.raises(SettingsError, match=words):
                await RecordProducer(kafka, seconds=1).connect()
        assert await topic_admin.apply(KafkaServers(address, USER, SECRET), partitions=PARTITIONS)
    with pytest.raises(Unavailable, match="does not answer"):
        await topic_admin.apply(KafkaServers(address, USER, SECRET), partitions=PARTITIONS)


async def test_a_data_folder_of_before_goes_on_with_a_password(tmp_path: Path) -> None:
    async with broker(tmp_path, None) as address:
        await topic_admin.apply(address, partitions=PARTITIONS)
    async with broker(tmp_path) as address:
        changes = await topic_admin.apply(KafkaServers(address, USER, SECRET), partitions=PARTITIONS)
        assert {change.action for change in changes} == {"unchanged"}


async def test_a_client_of_a_closed_broker_works_with_an_open_one_no_more_than_the_other_way_round(
    tmp_path: Path,
) -> None:
    async with broker(tmp_path, None) as address:
        with pytest.raises(SettingsError, match="kafka_mechanism"):
            await topic_admin.apply(KafkaServers(address, USER, SECRET), partitions=PARTITIONS)


def _frame(api_key: int, version: int, body: bytes) -> bytes:
    header = struct.pack(">hhih1s", api_key, version, 7, 1, b"x")
    return struct.pack(">i", len(header) + len(body)) + header + body


@pytest.mark.parametrize(
    "sent",
    [
        _frame(3, 1, MetadataRequest_v1(None).encode()),
        _frame(36, 0, SaslAuthenticateRequest_v0(b"\0cauce\0" + SECRET.encode()).encode())
        + _frame(3, 1, MetadataRequest_v1(None).encode()),
        _frame(17, 1, SaslHandShakeRequest_v1("SCRAM-SHA-512").encode())
        + _frame(3, 1, MetadataRequest_v1(None).encode()),
        struct.pack(">i", MAX_SIGN_IN_FRAME + 1),
    ],
    ids=["no word of a password", "not the way", "half way", "a large frame"],
)
async def test_a_connection_that_has_not_signed_in_is_closed_without_an_answer(tmp_path: Path, sent: bytes) -> None:
    async with broker(tmp_path) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        async with asyncio.timeout(120):
            answered = await reader.read()
        writer.close()
        assert b"chat" not in answered
        assert len(answered) < 200


def test_a_broker_that_does_not_know_the_password_cannot_pass_for_one_that_does() -> None:
    client = ScramAuthenticator(
        loop=None, sasl_plain_password=SECRET, sasl_plain_username=USER, sasl_mechanism="SCRAM-SHA-512"
    )
    other = SignIn(Password("not the password"))
    other.handshake(SaslHandShakeRequest_v1("SCRAM-SHA-512"))
    first = other.authenticate(SaslAuthenticateRequest_v0(client.first_message().encode()))
    client.process_server_first_message(first["sasl_auth_bytes"].decode())
    with pytest.raises(ValueError, match="signature"):
        client.process_server_final_message("v=" + base64.b64encode(b"0" * 64).decode())
    refused = other.authenticate(SaslAuthenticateRequest_v0(client.final_message().encode()))
    assert refused["error_code"] == 58
    assert not other.done


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"n,,",
        b"n,,n=cauce",
        b"n,,n=cauce,r=",
        b"y,,n=cauce,r=a",
        b"p=x",
        b"\xff",
        b"n,,n=cauce,r=a,r=b" + b",x" * 99,
    ],
)
def test_what_is_no_message_of_scram_is_a_wrong_password(said: bytes) -> None:
    way = SignIn(Password(SECRET))
    way.handshake(SaslHandShakeRequest_v1("SCRAM-SHA-256"))
    first = way.authenticate(SaslAuthenticateRequest_v0(said))
    proof = way.authenticate(SaslAuthenticateRequest_v0(b"c=biws,r=a,p=AAAA"))
    assert 58 in (first["error_code"], proof["error_code"])
    assert not way.done


def test_a_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    secret = made_secret(path)
    assert len(secret) >= 43
    assert made_secret(path) == secret
    assert not open_for_others(path)
    path.chmod(0o644)
    assert made_secret(path) == secret
    assert not open_for_others(path)
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]
