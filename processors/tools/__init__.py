"""The tools group: calls that turns ask for, made at most once through their toolset, with a ledger before and after."""

from connectors.toolsets import toolset_imports
from processors.group import Parts, ProcessorGroup
from schemas import Topic
from streams import Processor


async def _make(parts: Parts) -> Processor:
    from processors.settings_cache import UserCache
    from processors.tools.processor import ToolsProcessor

    users = UserCache(parts.stores.directory)
    return ToolsProcessor(parts.stores.ledger, parts.tenants, parts.toolsets, parts.stores.journal, users=users)


GROUP = ProcessorGroup(
    name="tools",
    reads=(Topic.TOOL_REQUESTS,),
    make=_make,
    imports=toolset_imports(),
    # A call's result, which a turn waits for, is sent immediately.
    awaited=False,
)
