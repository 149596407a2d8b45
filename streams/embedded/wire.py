"""The wire: frames, requests and responses, error codes.

aiokafka's own request and response structures are symmetrical, so requests are decoded and responses encoded with them.
`aiokafka.protocol` is not a public interface: this is the one module that uses it, aiokafka is pinned, and the
conformance suite fails when it changes.
"""

from __future__ import annotations

import importlib
import io
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

MAX_FRAME = 16 << 20
"""Bytes of one request; a larger one closes its connection."""


class Error(IntEnum):
    """Kafka protocol error codes that this broker answers with."""

    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC = 3
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    INVALID_TOPIC = 17
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    UNKNOWN_MEMBER = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    UNSUPPORTED_SASL_MECHANISM = 33
    UNSUPPORTED_VERSION = 35
    TOPIC_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION = 38
    OUT_OF_ORDER_SEQUENCE = 45
    PRODUCER_FENCED = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID = 49
    CONCURRENT_TRANSACTIONS = 51
    STORAGE_ERROR = 56
    SASL_AUTHENTICATION_FAILED = 58
    NON_EMPTY_GROUP = 68
    GROUP_NOT_FOUND = 69
    MEMBER_ID_REQUIRED = 79
    INVALID_RECORD = 87


_APIS: dict[str, tuple[tuple[str, int, int], ...]] = {
    "metadata": (("Metadata", 0, 5),),
    "produce": (("Produce", 3, 7),),
    "fetch": (("Fetch", 4, 11),),
    "offset": (("Offset", 1, 3),),
    "group": (("JoinGroup", 5, 5), ("SyncGroup", 3, 3), ("Heartbeat", 0, 1), ("LeaveGroup", 0, 1)),
    "commit": (("OffsetCommit", 2, 3), ("OffsetFetch", 1, 3)),
    "coordination": (("FindCoordinator", 0, 1),),
    "admin": (
        ("ApiVersion", 0, 2),
        ("SaslHandShake", 0, 1),
        ("SaslAuthenticate", 0, 1),
        ("CreateTopics", 0, 3),
        ("DeleteTopics", 0, 3),
        ("ListGroups", 0, 2),
        ("DescribeGroups", 0, 2),
        ("CreatePartitions", 0, 1),
        ("DescribeConfigs", 1, 2),
        ("AlterConfigs", 0, 1),
        ("DeleteRecords", 0, 1),
        ("DeleteGroups", 0, 1),
    ),
    "transaction": (
        ("InitProducerId", 0, 0),
        ("AddPartitionsToTxn", 0, 0),
        ("AddOffsetsToTxn", 0, 0),
        ("EndTxn", 0, 0),
        ("TxnOffsetCommit", 0, 0),
    ),
}
"""By module of aiokafka.protocol: the requests that aiokafka 0.14 sends, with the versions it may choose from."""

API_VERSIONS = 18


@dataclass(frozen=True, slots=True)
class Api:
    """One version of one request."""

    name: str
    version: int
    request: Any
    response: Any


def _table() -> tuple[dict[tuple[int, int], Api], list[tuple[int, int, int]]]:
    apis: dict[tuple[int, int], Api] = {}
    ranges = []
    for module_name, entries in _APIS.items():
        module = importlib.import_module(f"aiokafka.protocol.{module_name}")
        for name, low, high in entries:
            for version in range(low, high + 1):
                request = getattr(module, f"{name}Request_v{version}")
                apis[request.API_KEY, version] = Api(
                    name, version, request, getattr(module, f"{name}Response_v{version}")
                )
            ranges.append((request.API_KEY, low, high))
    return apis, ranges


APIS, RANGES = _table()


@dataclass(frozen=True, slots=True)
class Request:
    """A decoded request. `client_id` is what the client calls itself."""

    api: Api
    correlation_id: int
    client_id: str
    body: Any


class UnsupportedVersion(Exception):
    """The client asked for a version that we do not have."""

    def __init__(self, correlation_id: int, api_key: int) -> None:
        super().__init__(f"api {api_key}")
        self.correlation_id, self.api_key = correlation_id, api_key


_HEADER = struct.Struct(">hhih")


def decode_request(frame: bytes) -> Request:
    """Decodes a frame without its length. Raises `UnsupportedVersion`, or anything at all when the frame is garbage."""
    api_key, version, correlation_id, length = _HEADER.unpack_from(frame)
    end = _HEADER.size + max(length, 0)
    client_id = frame[_HEADER.size : end].decode()
    api = APIS.get((api_key, version))
    if api is None:
        raise UnsupportedVersion(correlation_id, api_key)
    return Request(api, correlation_id, client_id, api.request.decode(io.BytesIO(frame[end:])))


def encode_response(request: Request, fields: dict[str, Any]) -> bytes:
    """The whole frame of a response; fields that this version does not have are left out."""
    names = request.api.response.SCHEMA.names
    body: bytes = request.api.response(**{name: fields[name] for name in names}).encode()
    return struct.pack(">ii", len(body) + 4, request.correlation_id) + body


def unsupported_api_versions(correlation_id: int) -> bytes:
    """The answer to a too new ApiVersions request: version 0 with the error, so that the client tries an older one."""
    return struct.pack(">iihi", 10, correlation_id, Error.UNSUPPORTED_VERSION, 0)
