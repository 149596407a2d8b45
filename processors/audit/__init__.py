"""The audit group: `audit.events` into the store, many rows a write."""

from processors.group import Parts, ProcessorGroup
from schemas import Topic
from streams import Processor


async def _make(parts: Parts) -> Processor:
    from processors.audit.processor import AuditProcessor

    return AuditProcessor(parts.stores.audit)


GROUP = ProcessorGroup(
    name="audit",
    reads=(Topic.AUDIT_EVENTS,),
    make=_make,
    # A row is ordered by its position, whenever it is written.
    in_order=False,
    awaited=False,
    fetch_bytes=64 << 10,
)
