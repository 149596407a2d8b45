"""Runs of hosted graphs: LangGraph graphs of the installation's own, named in `cauce.toml` (decision 9)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from schemas.base import Body, Stored
from schemas.chat import MultitaskStrategy
from schemas.ids import Id
from schemas.questions import Question
from schemas.topics import Topic

Durability = Literal["sync", "async", "exit"]
"""When checkpoints are committed, in LangGraph's terms: after each superstep, or with the turn's batch (all supersteps, or
the last one)."""

LARGEST_CONFIGURATION = 64 << 10
"""Bytes of a run's configuration that its thread keeps: it is written again with every turn."""


LEFT_OUT = "cauce:left_out"
"""Stands for a part of a stream that no record holds. No node has this name: LangGraph allows no colon in one."""


def left_out(mode: str, size: int) -> dict[str, Any]:
    """What replaces a part that is left out: the stream mode, and its size in bytes as JSON."""
    return {LEFT_OUT: {"mode": mode, "bytes": size}}


def is_left_out(data: Any) -> bool:
    """Whether this replaces a part that was left out."""
    return isinstance(data, dict) and set(data) == {LEFT_OUT}


class GraphCommand(Stored):
    """LangGraph's `Command` as clients send it. `resume` counts where `resumes` is set: null is an answer, too."""

    resumes: bool = False
    resume: Any = None
    answers: tuple[str, ...] = ()
    """Ids of the interrupts that `resume` is for: where one of them is not open any more, nothing is done. Empty for whatever is
    open."""
    update: Any = None
    goto: Any = None


class GraphRequest(Stored):
    """What a run of a graph is to do. The gateway has put the assistant's configuration and the client's together."""

    graph: str
    """Name in `cauce.toml`."""
    input: Any = None
    """None resumes from the thread's present state."""
    command: GraphCommand | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    """`configurable`, `tags`, `metadata`, `recursion_limit`, as a RunnableConfig has them."""
    context: dict[str, Any] = Field(default_factory=dict)
    checkpoint_id: str | None = None
    """The checkpoint to resume from (a fork); the newest when None."""
    interrupt_before: tuple[str, ...] = ()
    interrupt_after: tuple[str, ...] = ()
    """Names of nodes; `*` means all."""
    modes: tuple[str, ...] = ("values",)
    """Stream modes that readers of the run may ask for."""
    subgraphs: bool = False
    """Whether streams include subgraphs."""
    durability: Durability = "async"
    permissions: tuple[str, ...] = ()
    """What the caller's credential covers, for nodes that ask."""

    def without_input(self) -> GraphRequest:
        """The request without the input or command of the graph."""
        return self.model_copy(update={"input": None, "command": None})

    def configuration(self) -> GraphRequest | None:
        """The part that determines how the graph is created and read; None if it is too large to be kept with a thread."""
        found = GraphRequest(graph=self.graph, config=self.config, context=self.context, permissions=self.permissions)
        return found if len(found.to_bytes()) <= LARGEST_CONFIGURATION else None


class GraphInterrupt(Stored):
    """An interrupt that a graph waits with. `namespace` is its subgraph's, empty for the graph itself."""

    id: str
    value: Any = None
    namespace: tuple[str, ...] = ()

    def as_question(self, answered_by: str) -> Question:
        """For the thread's list of open questions."""
        return Question("interrupt", self.id, answered_by, self.value, namespace=self.namespace)


class GraphInput(Body):
    """A person starts a run of a graph, or answers what one waits for (`request.command.resumes`, or an empty input)."""

    TYPE: ClassVar[str] = "cauce.chat.graph_input"
    TOPICS = (Topic.CHAT_MESSAGES,)
    user_id: Id
    request: GraphRequest
    run_id: Id | None = None
    """Id of the run that this starts; the record's id when absent. A resumed run keeps its own."""
    agent_id: Id = "default"
    """The assistant's id."""
    multitask_strategy: MultitaskStrategy = "enqueue"
    metadata: dict[str, Any] = Field(default_factory=dict)


class StateChange(Stored):
    """A change of the state, as if a node had written it."""

    values: Any = None
    as_node: str | None = None


class UpdateState(Body):
    """A person changes a thread's state by hand. Answered by `StateUpdated` or `InputRefused`."""

    TYPE: ClassVar[str] = "cauce.chat.update_state"
    TOPICS = (Topic.CHAT_MESSAGES,)
    user_id: Id
    graph: str
    """Name in `cauce.toml`."""
    agent_id: Id = "default"
    values: Any = None
    as_node: str | None = None
    checkpoint_id: str | None = None
    """The checkpoint to fork from; the newest when None."""
    supersteps: tuple[tuple[StateChange, ...], ...] = ()
    """Instead of `values`: supersteps one after the other, each with what its nodes wrote."""
    config: dict[str, Any] = Field(default_factory=dict)
    context: dict[str, Any] = Field(default_factory=dict)
    """What the graph is made with, as in a request."""
    permissions: tuple[str, ...] = ()


class GraphPiece(Body):
    """A part of a stream on its way, or a piece of one. `index` counts the parts of its leg from 0.

    What a model writes comes in pieces, each of so many `chunks` of the model: `after` counts those of the part before this
    piece, `offset` the characters of their text. All other parts come whole, with offset 0.
    """

    index: int = Field(ge=0)
    mode: str
    namespace: tuple[str, ...] = ()
    data: Any = None
    offset: int = Field(default=0, ge=0)
    after: int = Field(default=0, ge=0)
    chunks: int = Field(default=0, ge=0)


class GraphDelta(Body):
    """What a graph streams while it runs; best effort. The leg's `GraphStreamed` events repeat all of it."""

    TYPE: ClassVar[str] = "cauce.chat.graph_delta"
    TOPICS = (Topic.CHAT_DELTAS,)
    run_id: Id
    leg: Id
    """Id of this execution of the graph: a leg that is re-executed after a crash has another."""
    graph: str = ""
    """The graph's name in `cauce.toml`."""
    pieces: tuple[GraphPiece, ...]
