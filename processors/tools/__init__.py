"""The tools group: calls that turns ask for, made at most once through Arcade, with a ledger before and after."""

from processors.group import Parts, ProcessorGroup
from schemas import Topic
from streams import Processor


async def _make(parts: Parts) -> Processor:
    from processors.tools.processor import ToolsProcessor

    client, catalogue = parts.arcade
    return ToolsProcessor(parts.stores.ledger, parts.tenants, catalogue, client)


GROUP = ProcessorGroup(
    name="tools",
    reads=(Topic.TOOL_REQUESTS,),
    make=_make,
    imports=("connectors.arcade.client", "arcadepy"),
    # What turns wait for, a call's result, is sent at once.
    awaited=False,
)
