"""Who may do what: one table of operations, kinds of threads and scopes. Use cases ask it before they act, whichever way a
request comes in; the gateway's routes say which operations they are (`connectors/gateway/permitted_routes.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.principal import Principal, Scope
from core.run_views import NewRun
from schemas import GraphRequest, RunKind, ThreadHead

Scopes = tuple[Scope, ...]


class Operation(StrEnum):
    """What a caller may ask for, as a refusal calls it."""

    SEE_SERVER = "see what the server is"
    SEE_SELF = "see whose credential it is"
    READ = "read threads, runs, agents and items"
    CHANGE_SELF = "change the settings of its user"
    KEEP_ITEMS = "keep and delete items"
    CHANGE_THREAD = "make, change, copy and delete threads, and cancel runs"
    RUN = "start a run with a message or an input"
    CONTINUE = "continue a run without an input"
    ANSWER = "answer what a run asks"
    FORK = "go back to an earlier message or checkpoint"
    CHANGE_STATE = "change a state or messages by hand"
    KEEP_ASSISTANTS = "make, change and delete assistants of its user"
    CHANGE_SHARED = "share assistants, and change shared and default ones"
    ADMINISTER = "administer the tenant: its agents, its users and their keys"


@dataclass(frozen=True, slots=True)
class Needs:
    """The scopes that an operation needs, all of them, in a thread of either kind."""

    agent: Scopes
    graph: Scopes


def _both(*scopes: Scope) -> Needs:
    return Needs(scopes, scopes)


TABLE: Mapping[Operation, Needs] = {
    Operation.SEE_SERVER: _both(),
    Operation.SEE_SELF: _both(),
    Operation.READ: _both("read"),
    Operation.CHANGE_SELF: _both("write"),
    Operation.KEEP_ITEMS: _both("write"),
    Operation.CHANGE_THREAD: _both("read", "write"),
    Operation.RUN: _both("read", "write"),
    # Nothing is left to do in an agent's thread but to answer its last message; a graph passes the stop that it waits at.
    Operation.CONTINUE: Needs(agent=("read", "write"), graph=("read", "approve")),
    Operation.ANSWER: _both("read", "approve"),
    # Past a question, or back before it: whoever may do this decides as the one who is asked does.
    Operation.FORK: _both("read", "write", "approve"),
    Operation.CHANGE_STATE: _both("read", "approve"),
    Operation.KEEP_ASSISTANTS: _both("read", "write"),
    # What other people's runs use is the administrator's.
    Operation.CHANGE_SHARED: _both("read", "admin"),
    Operation.ADMINISTER: _both("admin"),
}
"""Every operation. A session, an access token, and a key for which nothing else was asked have `read`, `write` and `approve`."""


KINDS: tuple[RunKind, ...] = ("agent", "graph")


def allows(principal: Principal, operation: Operation, kind: RunKind = "agent") -> bool:
    """Whether the credential covers an operation in a thread of this kind."""
    return all(principal.covers(scope) for scope in _needed(operation, kind))


def require(principal: Principal, operation: Operation, kind: RunKind = "agent") -> None:
    """Raises `Forbidden` when the credential does not cover an operation in a thread of this kind."""
    for scope in _needed(operation, kind):
        principal.require(scope, operation.value)


def is_for_anybody(operations: Iterable[Operation]) -> bool:
    """Whether one of the operations needs no scope."""
    return any(not TABLE[one].agent for one in operations)


def require_any(principal: Principal, operations: Iterable[Operation]) -> None:
    """Raises `Forbidden` when the credential covers none of the operations that a route may turn out to be, in no thread."""
    given = list(operations)
    if not any(allows(principal, one, kind) for one in given for kind in KINDS):
        require(principal, given[0])


def require_request(principal: Principal, request: GraphRequest) -> None:
    """Raises `Forbidden` when the credential does not cover all that a hosted graph is to do."""
    for operation in operations_of_graph(request):
        require(principal, operation, "graph")


def require_run(principal: Principal, new: NewRun, head: ThreadHead) -> None:
    """Raises `Forbidden` when the credential does not cover all that a run does."""
    for operation in operations_of(new, head):
        require(principal, operation, new.kind)


def operations_of(new: NewRun, head: ThreadHead) -> list[Operation]:
    """What starting a run in the thread is."""
    if new.graph is not None:
        return operations_of_graph(new.graph)
    if new.after is not None and new.after != head.newest_message:
        return [Operation.RUN, Operation.FORK]
    return [Operation.RUN if new.text else Operation.CONTINUE]


def operations_of_graph(request: GraphRequest) -> list[Operation]:
    """What a request to a hosted graph is; each of its parts counts."""
    command, found = request.command, list[Operation]()
    if request.checkpoint_id is not None:
        found += [Operation.RUN, Operation.FORK]
    if command is not None and command.resumes:
        found.append(Operation.ANSWER)
    if command is not None and (command.update is not None or command.goto is not None):
        found += [Operation.CHANGE_STATE] if command.resumes else [Operation.RUN, Operation.CHANGE_STATE]
    if command is None and request.input is None and request.checkpoint_id is None:
        found.append(Operation.CONTINUE)
    return found or [Operation.RUN]


def _needed(operation: Operation, kind: RunKind) -> Scopes:
    needs = TABLE[operation]
    return needs.graph if kind == "graph" else needs.agent
