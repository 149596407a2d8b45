"""The turns group: a thread's next step, from an input or a full set of tool results to tool calls or an answer.

What happens is decided in `threads`, by pure functions on a draft. `leg` is the contract of what works on a run, and has two
implementations: `agent_leg` calls a model, `graph_leg` runs a hosted graph, whose streams are cut in `graph_parts` and
`graph_stream`. `processor` hydrates, commits and publishes, and knows neither.
"""

from connectors.toolsets import toolset_imports
from processors.group import Parts, ProcessorGroup
from schemas import RunKind, Topic
from streams import Processor


async def _make(parts: Parts) -> Processor:
    from processors.settings_cache import UserCache
    from processors.turns.agent_leg import Agent, AgentLeg
    from processors.turns.gate import Gate
    from processors.turns.graph_leg import GraphLeg
    from processors.turns.leg import Leg
    from processors.turns.processor import TurnsProcessor
    from processors.turns.profile import Profiles
    from processors.turns.state_changes import StateChanges

    stores = parts.stores
    users = UserCache(stores.directory)
    profiles = Profiles(parts.toolsets, users, await parts.models())
    graphs = await parts.graphs()
    legs: dict[RunKind, Leg] = {
        "agent": AgentLeg(Agent(), profiles, parts.emit),
        "graph": GraphLeg(graphs, stores.journal, parts.items, parts.emit),
    }
    states = StateChanges(graphs, stores.journal, parts.items)
    gate = Gate(users, stores.timers)
    return TurnsProcessor(stores.journal, stores.ledger, parts.tenants, legs, states, gate=gate, observe=parts.observe)


GROUP = ProcessorGroup(
    name="turns",
    reads=(Topic.CHAT_MESSAGES, Topic.EXTERNAL_EVENTS, Topic.TOOL_RESULTS),
    make=_make,
    imports=(
        *toolset_imports(),
        "connectors.graphs",
        "processors.turns.agent_leg",
        "processors.turns.processor",
        "connectors.models.rules",
    ),
)
