"""Signing in at the broker: SASL with SCRAM (RFC 5802, RFC 7677), in which the password is never sent.

A program that takes the port while the broker is away learns nothing from those who try to sign in, and cannot pass for it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from streams.embedded.wire import Error, Request

USER = "cauce"
ITERATIONS = 4096
"""The least that RFC 5802 allows. More makes it dearer to guess a password, and this one is 32 random bytes."""
MECHANISMS = {"SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256"}
SIGN_IN_SECONDS = 10.0
"""A connection that has not signed in by then is closed."""
MAX_SIGN_IN_FRAME = 4096
BEFORE = ("ApiVersion", "SaslHandShake", "SaslAuthenticate")
"""What is answered before somebody has signed in."""


class NotSignedIn(Exception):
    """Somebody asked for what needs a password, or gave a wrong one."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What the broker keeps of a password for one mechanism (RFC 5802, section 3)."""

    salt: bytes
    stored: bytes
    server: bytes

    @classmethod
    def of(cls, password: str, digest: str) -> Keys:
        """For a new salt."""
        salt = secrets.token_bytes(16)
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, ITERATIONS)
        client = hmac.digest(salted, b"Client Key", digest)
        return cls(salt, hashlib.new(digest, client).digest(), hmac.digest(salted, b"Server Key", digest))


class Password:
    """The one password of the broker."""

    def __init__(self, password: str) -> None:
        self.keys = {mechanism: Keys.of(password, digest) for mechanism, digest in MECHANISMS.items()}


class SignIn:
    """One connection on its way in. Without a password everybody is in."""

    def __init__(self, password: Password | None) -> None:
        self._password = password
        self.done = password is None
        self._mechanism = ""
        self._first = ""
        """The messages of both sides so far, of which the proof is made."""
        self._nonce = ""

    def check(self, request: Request) -> None:
        """Raises `NotSignedIn` for a request that has to wait."""
        if not self.done and request.api.name not in BEFORE:
            raise NotSignedIn(f"{request.api.name} of {request.client_id!r}")

    def handshake(self, request: Any) -> dict[str, Any]:
        """SaslHandshake."""
        known = self._password is not None and request.mechanism in MECHANISMS
        self._mechanism = request.mechanism if known else ""
        return {
            "error_code": Error.NONE if known else Error.UNSUPPORTED_SASL_MECHANISM,
            "enabled_mechanisms": list(MECHANISMS) if self._password else [],
        }

    def authenticate(self, request: Any) -> dict[str, Any]:
        """SaslAuthenticate: the client's first message, then its proof."""
        try:
            message = bytes(request.sasl_auth_bytes).decode()
            answer = self._prove(message) if self._nonce else self._begin(message)
        except (ValueError, KeyError, NotSignedIn):
            self._nonce = ""
            reason = "the name or the password is wrong"
            return self._answer(Error.SASL_AUTHENTICATION_FAILED, reason, b"")
        return self._answer(Error.NONE, None, answer.encode())

    @staticmethod
    def _answer(error: Error, reason: str | None, data: bytes) -> dict[str, Any]:
        return {"error_code": error, "error_message": reason, "sasl_auth_bytes": data, "session_lifetime_ms": 0}

    def _begin(self, message: str) -> str:
        if not message.startswith("n,,"):  # no channel binding, no other identity
            raise NotSignedIn
        bare = message[3:]
        fields = _fields(bare)
        keys = self._keys()
        if fields["n"] != USER or not fields["r"]:
            raise NotSignedIn
        self._nonce = fields["r"] + secrets.token_urlsafe(18)
        answer = f"r={self._nonce},s={base64.b64encode(keys.salt).decode()},i={ITERATIONS}"
        self._first = f"{bare},{answer}"
        return answer

    def _prove(self, message: str) -> str:
        keys, digest = self._keys(), MECHANISMS[self._mechanism]
        without_proof, _, proof = message.rpartition(",p=")
        fields = _fields(without_proof)
        spoken = f"{self._first},{without_proof}".encode()
        signature = hmac.digest(keys.stored, spoken, digest)
        given = base64.b64decode(proof, validate=True)
        client = bytes(a ^ b for a, b in zip(signature, given, strict=True))
        right = hmac.compare_digest(hashlib.new(digest, client).digest(), keys.stored)
        if not right or fields["r"] != self._nonce or fields["c"] != "biws":
            raise NotSignedIn
        self.done = True
        return f"v={base64.b64encode(hmac.digest(keys.server, spoken, digest)).decode()}"

    def _keys(self) -> Keys:
        if self._password is None or not self._mechanism:
            raise NotSignedIn
        return self._password.keys[self._mechanism]


def _fields(message: str) -> dict[str, str]:
    return dict(one.split("=", 1) for one in message.split(","))
