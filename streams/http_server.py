"""The HTTP server of a process, with limits on what a caller may send before anybody has looked at it.

Uvicorn takes httptools for parsing where it is installed, and that has no limit for the address and the headers of a request and
no time until they have to be complete: one connection could fill the memory and hold up the event loop. Both listeners of the
gateway and the health pages are made here, so that the limits hold on each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

log = logging.getLogger("cauce.http")


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a connection may send, and how many there may be. Sizes are in bytes, times in seconds."""

    head_bytes: int = 32 << 10
    """Address and headers of a request; and what frames a chunked body beside the body."""
    headers: int = 100
    head_seconds: float = 15.0
    """Until address and headers are complete, from the beginning of the connection or the first byte of a later request."""
    body_seconds: float = 60.0
    """Until the body is complete, from the end of the headers."""
    connections: int = 20_000
    connections_per_address: int = 4_000
    """Many users may share an address: an office, or a proxy in front of the gateway."""


SAFE_HEADERS = {
    b"content-security-policy": (
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
}
"""On every answer, errors included: a browser runs, frames and guesses nothing that this server does not itself serve. The
referrer policy is not `no-referrer`, with which browsers send `Origin: null` with forms of our own pages (Fetch, section 3.2)."""


class QuietServer(uvicorn.Server):
    """Leaves signals to the process that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def make_server(app: Any, limits: HttpLimits, **options: Any) -> QuietServer:
    """A server of an ASGI application with these limits; `options` are of `uvicorn.Config`."""
    protocol = type("LimitedProtocol", (LimitedHttp,), {"limits": limits, "open_by_address": Counter()})
    return QuietServer(
        uvicorn.Config(
            _with_safe_headers(app), http=protocol, access_log=False, server_header=False, date_header=False, **options
        )
    )


def _with_safe_headers(app: Any) -> Any:
    """The application with `SAFE_HEADERS` on its answers, also on refused WebSockets. One that it sets itself stays as it is.
    Where it fails before it has answered, that is answered here: the server's own answer would have none."""

    async def with_headers(scope: Any, receive: Any, send: Any) -> None:
        begun = scope["type"] != "http"

        async def sending(message: Any) -> None:
            nonlocal begun
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                begun = True
                headers = list(message.get("headers", ()))
                names = {bytes(name).lower() for name, _ in headers}
                headers += [(name, value) for name, value in SAFE_HEADERS.items() if name not in names]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await app(scope, receive, sending)
        except Exception as error:
            if begun:
                raise
            log.error("a request failed", exc_info=error)
            body = _body(
                HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "The server failed to process this request."
            )
            headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
            await sending({"type": "http.response.start", "status": 500, "headers": headers})
            await sending({"type": "http.response.body", "body": body})

    return with_headers


_FRAMED = 6
"""Bytes of a chunk that holds one."""


class _Refused(Exception):
    """A request that breaks a limit; it is not handed to the application."""

    def __init__(self, status: HTTPStatus, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class LimitedHttp(HttpToolsProtocol):
    """One connection. Bytes of a head are counted as they come in, since the parser hands over a header when it is complete."""

    limits: ClassVar[HttpLimits]
    open_by_address: ClassVar[Counter[str]]

    _unfinished = 0  # bytes of a head that is not complete
    _head = 0  # bytes of address and headers that were handed over
    _raw = _body = 0  # bytes of the present body, with and without its frames
    _in_body = False
    _refusal: _Refused | None = None
    _deadline: asyncio.TimerHandle | None = None
    _counted: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuses it with 503 where there are too many."""
        super().connection_made(transport)
        self._counted = self.client[0] if self.client else ""
        self.open_by_address[self._counted] += 1
        if self.open_by_address[self._counted] > self.limits.connections_per_address:
            self._refuse(
                _Refused(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "too_many_connections",
                    f"There are {self.limits.connections_per_address:,} connections from this address already. Close some.",
                )
            )
        elif len(self.connections) > self.limits.connections:
            self._refuse(
                _Refused(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "too_many_connections",
                    "The server has too many connections. Try again soon.",
                )
            )
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """No longer counts it."""
        self._gone()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what is neither an address, a header nor a body that was handed over, and parses."""
        if self._refusal or self.transport.is_closing():
            return
        if self._in_body:
            self._raw += len(data)
        elif self._unfinished > self.limits.head_bytes:
            self._refuse(self._head_too_large())
            return
        else:
            self._unfinished += len(data)
        super().data_received(data)
        if self._in_body and self._raw - _FRAMED * self._body > self.limits.head_bytes:
            self._refuse(self._head_too_large())
        elif self._deadline is None and self._refusal is None:
            if self._in_body:
                self._wait(self.limits.body_seconds, "body", "The body")
            elif self._unfinished:
                self._expect_head()

    def handle_websocket_upgrade(self) -> None:
        """The connection counts until the WebSocket ends."""
        self._stop_waiting()
        super().handle_websocket_upgrade()
        protocol: Any = self.transport.get_protocol()
        lost = protocol.connection_lost

        def gone(exc: Exception | None) -> None:
            self._gone()
            lost(exc)

        protocol.connection_lost = gone

    def send_400_response(self, msg: str) -> None:
        """Answers what could not be parsed, or broke a limit while it was."""
        self._refuse(self._refusal or _Refused(HTTPStatus.BAD_REQUEST, "not_http", msg))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = self._raw = self._body = 0
        self._unfinished = self._unfinished or 1
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        self._add_to_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer behind a chunked body."""
        self._add_to_head(len(name) + len(value) + len(": \r\n"))
        if len(self.headers) >= self.limits.headers:
            self._refusal = _Refused(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too_many_headers",
                f"A request may have {self.limits.headers} headers.",
            )
            raise self._refusal
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on it is the body that has to come."""
        self._unfinished, self._in_body = 0, True
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has come in; the next may begin whenever its client likes, within the time of keep-alive."""
        self._unfinished, self._in_body = 0, False
        self._stop_waiting()
        super().on_message_complete()

    def _add_to_head(self, size: int) -> None:
        self._head += size
        if self._head > self.limits.head_bytes:
            self._refusal = self._head_too_large()
            raise self._refusal

    def _head_too_large(self) -> _Refused:
        return _Refused(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head_too_large",
            f"Address and headers of a request may have {self.limits.head_bytes:,} bytes.",
        )

    def _expect_head(self) -> None:
        self._wait(self.limits.head_seconds, "head", "Address and headers")

    def _wait(self, seconds: float, part: str, shown: str) -> None:
        self._stop_waiting()
        late = _Refused(
            HTTPStatus.REQUEST_TIMEOUT, f"{part}_too_slow", f"{shown} of the request did not come within {seconds:g} s."
        )
        self._deadline = self.loop.call_later(seconds, self._refuse, late)

    def _stop_waiting(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, refusal: _Refused) -> None:
        """Answers, where the answer would not be taken for another request's, and closes."""
        self._refusal = refusal
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or (self._in_body and not self.cycle.response_started):
            self.transport.write(_problem(refusal))
        self.transport.close()

    def _gone(self) -> None:
        self._stop_waiting()
        if self._counted is not None:
            self.open_by_address[self._counted] -= 1
            if not self.open_by_address[self._counted]:
                del self.open_by_address[self._counted]
            self._counted = None


def _problem(refusal: _Refused) -> bytes:
    """The bytes of an answer."""
    body = _body(refusal.status, refusal.code, refusal.detail)
    safe = b"".join(b"%s: %s\r\n" % header for header in SAFE_HEADERS.items())
    head = b"content-type: application/problem+json\r\n%sconnection: close\r\ncontent-length: %d\r\n\r\n"
    return STATUS_LINE[refusal.status.value] + head % (safe, len(body)) + body


def _body(status: HTTPStatus, code: str, detail: str) -> bytes:
    """A problem of RFC 9457, with the members that the gateway's have."""
    members = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, "code": code}
    return json.dumps(members).encode()
