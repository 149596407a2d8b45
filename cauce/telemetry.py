"""Logging and tracing of a process."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cauce.foreign_text import foreign, foreign_line
from cauce.settings import Settings
from core.request_context import served
from schemas.errors import SettingsError
from schemas.text import storable_text

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

LONGEST_TEXT = 20_000
"""Maximum characters of a message, and of a traceback, in one log line."""
LOG_FIELDS: ContextVar[dict[str, str]] = ContextVar("log_fields", default={})  # noqa: B039  # never changed in place
"""Tenant, thread, run and trace of the record being processed."""


@contextmanager
def log_fields(**fields: str | None) -> Iterator[None]:
    """Adds fields to everything logged inside the block."""
    token = LOG_FIELDS.set({**LOG_FIELDS.get(), **{k: v for k, v in fields.items() if v}})
    try:
        yield
    finally:
        LOG_FIELDS.reset(token)


def bounded(text: str) -> str:
    """The text, shortened in the middle if longer than `LONGEST_TEXT`, without unpaired surrogates."""
    if len(text) > LONGEST_TEXT:
        half = LONGEST_TEXT // 2
        text = f"{text[:half]} [... {len(text) - 2 * half:,} characters left out ...] {text[-half:]}"
    return storable_text(text)


class BoundedFormatter(logging.Formatter):
    """Shortens long messages: those of application exceptions may have megabytes."""

    def formatException(self, ei: Any) -> str:  # overrides logging.Formatter
        """The traceback."""
        return bounded(super().formatException(ei))


class JsonFormatter(BoundedFormatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": bounded(record.getMessage()),
            **_fields(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(BoundedFormatter):
    """A human-readable line: time, level, logger, message, fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # overrides logging.Formatter
        """The line without a traceback. What others wrote cannot make a second line, and does nothing to a terminal."""
        record.message = foreign_line(bounded(record.message))
        fields = " ".join(f"{k}={foreign_line(v)}" for k, v in _fields().items())
        return super().formatMessage(record) + (f"  [{fields}]" if fields else "")

    def formatException(self, ei: Any) -> str:  # overrides logging.Formatter
        """The traceback, with its lines indented: none of them looks like a line of the log."""
        return "\n".join(f"  {line}" for line in foreign(super().formatException(ei)).split("\n"))


def _fields() -> dict[str, str]:
    request = served()
    return {**(request.log_fields if request else {}), **LOG_FIELDS.get()}


def set_up_logging(settings: Settings) -> None:
    """Sends logs to standard error in the format of the settings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log.format == "json" else TextFormatter())
    logging.basicConfig(level=settings.log.level.upper(), handlers=[handler], force=True)
    for name in ("httpx", "httpcore", "faststream", "cassandra"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The server warns about each statement that the driver re-prepares after a reconnect.
    logging.getLogger("cassandra.protocol").setLevel(logging.ERROR)


class Tracing:
    """Sends spans to the endpoint of the settings. Without one, nothing is imported or sent."""

    def __init__(self, settings: Settings, service: str) -> None:
        """Raises `SettingsError` when an endpoint is set but the extra is not installed."""
        self._provider: TracerProvider | None = None
        if not settings.otlp_endpoint:
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise SettingsError('otlp_endpoint needs extra packages: pip install "cauce[telemetry]"') from error
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))

    def of_records(self) -> list[object]:
        """The FastStream middlewares that create a span for each record."""
        if self._provider is None:
            return []
        from faststream.kafka.opentelemetry import KafkaTelemetryMiddleware

        return [KafkaTelemetryMiddleware(tracer_provider=self._provider)]

    def of_requests(self, app: Any) -> Any:
        """The ASGI application with a span for each request."""
        if self._provider is None:
            return app
        from cauce.traced_requests import TracedRequests

        return TracedRequests(app, self._provider)

    def close(self) -> None:
        """Sends the remaining spans."""
        if self._provider:
            self._provider.shutdown()
