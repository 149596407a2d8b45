"""Logs and traces of a process."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cauce.settings import Settings
from schemas.errors import SettingsError
from schemas.text import storable_text

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

LONGEST_TEXT = 20_000
"""Characters of a message, and of a traceback, in a line of the log."""
LOG_FIELDS: ContextVar[dict[str, str]] = ContextVar("log_fields", default={})  # noqa: B039  # never changed in place
"""Tenant, thread, run and trace of the record that is being processed."""


@contextmanager
def log_fields(**fields: str | None) -> Iterator[None]:
    """Adds fields to everything that is logged inside."""
    token = LOG_FIELDS.set({**LOG_FIELDS.get(), **{k: v for k, v in fields.items() if v}})
    try:
        yield
    finally:
        LOG_FIELDS.reset(token)


def bounded(text: str) -> str:
    """The text, or its beginning and its end where it is longer than `LONGEST_TEXT`; without halves of characters."""
    if len(text) > LONGEST_TEXT:
        half = LONGEST_TEXT // 2
        text = f"{text[:half]} [... {len(text) - 2 * half:,} characters left out ...] {text[-half:]}"
    return storable_text(text)


class BoundedFormatter(logging.Formatter):
    """What others' exceptions say may have megabytes: a line of the log has its beginning and its end."""

    def formatException(self, ei: Any) -> str:  # the name is logging's
        """The traceback."""
        return bounded(super().formatException(ei))


class JsonFormatter(BoundedFormatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": bounded(record.getMessage()),
            **LOG_FIELDS.get(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(BoundedFormatter):
    """A line for people: time, level, logger, message, fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # the name is logging's
        """The line without a traceback."""
        record.message = bounded(record.message)
        fields = " ".join(f"{k}={v}" for k, v in LOG_FIELDS.get().items())
        return super().formatMessage(record) + (f"  [{fields}]" if fields else "")


def set_up_logging(settings: Settings) -> None:
    """Logs to standard error in the form that the settings ask for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log.format == "json" else TextFormatter())
    logging.basicConfig(level=settings.log.level.upper(), handlers=[handler], force=True)
    for name in ("httpx", "httpcore", "faststream", "cassandra"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The server warns about each statement that the driver prepares again after a reconnect.
    logging.getLogger("cassandra.protocol").setLevel(logging.ERROR)


class Tracing:
    """Sends spans to the endpoint of the settings; nothing is imported or sent without one."""

    def __init__(self, settings: Settings, service: str) -> None:
        """Raises `SettingsError` when there is an endpoint and the extra is missing."""
        self._provider: TracerProvider | None = None
        if not settings.otlp_endpoint:
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise SettingsError('otlp_endpoint needs packages: pip install "cauce[telemetry]"') from error
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))

    def of_records(self) -> list[object]:
        """The FastStream middlewares that make a span of each record."""
        if self._provider is None:
            return []
        from faststream.kafka.opentelemetry import KafkaTelemetryMiddleware

        return [KafkaTelemetryMiddleware(tracer_provider=self._provider)]

    def of_requests(self, app: Any) -> Any:
        """The ASGI application with a span of each request."""
        if self._provider is None:
            return app
        from cauce.traced_requests import TracedRequests

        return TracedRequests(app, self._provider)

    def close(self) -> None:
        """Sends what is left."""
        if self._provider:
            self._provider.shutdown()
