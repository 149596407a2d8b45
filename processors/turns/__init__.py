"""The turns group: a thread's next step, from an input or a full set of tool results to tool calls or an answer.

`transitions`, `calls` and `answers` are what happens, as pure functions on a `draft`; `leg` and `agent` ask the model;
`graph_transitions` and `graph_leg` are the same for hosted graphs, whose streams are cut in `graph_parts` and `graph_stream`;
`processor` hydrates, commits and publishes.
"""

from connectors.toolsets import toolset_imports
from processors.group import Parts, ProcessorGroup
from schemas import Topic
from streams import Processor


async def _make(parts: Parts) -> Processor:
    from processors.settings_cache import UserCache
    from processors.turns.agent import Agent
    from processors.turns.graph_leg import GraphLegs
    from processors.turns.leg import LegRunner
    from processors.turns.processor import TurnsProcessor
    from processors.turns.profile import Profiles

    stores = parts.stores
    profiles = Profiles(parts.toolsets, UserCache(stores.directory), await parts.models())
    legs = LegRunner(Agent(), profiles, parts.emit)
    hosted = GraphLegs(await parts.graphs(), stores.journal, stores.items, parts.emit)
    return TurnsProcessor(stores.journal, stores.ledger, parts.tenants, legs, hosted, observe=parts.observe)


GROUP = ProcessorGroup(
    name="turns",
    reads=(Topic.CHAT_MESSAGES, Topic.EXTERNAL_EVENTS, Topic.TOOL_RESULTS),
    make=_make,
    imports=(
        *toolset_imports(),
        "connectors.graphs",
        "processors.turns.agent",
        "processors.turns.processor",
        "connectors.models.rules",
    ),
)
