"""What the audit trail tells: every action, and where it comes from. A test finds an emitter of each."""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """A dotted verb: what was acted on, and what happened to it. Values are stored, so none changes its meaning."""

    # Access
    SESSION_BEGUN = "session.begun"
    """Somebody signed in with a browser: by a link or a provider, which `details` names."""
    SESSION_ENDED = "session.ended"
    """Somebody signed out, or an administrator ended sessions."""
    LOGIN_LINK_MADE = "login_link.made"
    LOGIN_REFUSED = "login.refused"
    """A provider's user was not admitted, or its answer was not valid."""
    REQUEST_REFUSED = "request.refused"
    """401, 403 or 429. Several of a caller within a minute are one event with a count."""
    KEY_MADE = "key.made"
    KEY_REVOKED = "key.revoked"
    IDENTITY_LINKED = "identity.linked"
    IDENTITY_UNLINKED = "identity.unlinked"
    PROVIDER_SET = "provider.set"
    PROVIDER_REMOVED = "provider.removed"

    # Users and tenants
    USER_ADDED = "user.added"
    USER_CHANGED = "user.changed"
    USER_BLOCKED = "user.blocked"
    USER_UNBLOCKED = "user.unblocked"
    USER_SIGNED_OUT = "user.signed_out"
    """All sessions, keys and tokens of the user were ended."""
    USER_ERASED = "user.erased"
    """The erasure was asked for."""
    TENANT_ADDED = "tenant.added"
    TENANT_CHANGED = "tenant.changed"
    TENANT_PAUSED = "tenant.paused"
    TENANT_RESUMED = "tenant.resumed"
    TENANT_CLOSED = "tenant.closed"
    TENANT_ERASED = "tenant.erased"
    """The erasure was asked for."""
    AGENT_CHANGED = "agent.changed"
    """An agent was added or changed; `details` names the fields."""
    POLICY_CHANGED = "policy.changed"
    """What an agent may do, and with whose approval, was changed; `details` has both policies."""

    # What users keep
    ASSISTANT_MADE = "assistant.created"
    ASSISTANT_CHANGED = "assistant.changed"
    ASSISTANT_DELETED = "assistant.deleted"
    ITEM_PUT = "item.put"
    ITEM_DELETED = "item.deleted"

    # Conversations
    MESSAGE_SENT = "message.sent"
    """A message, an input or an event began or queued a run; `details` has which."""
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    RUN_REJECTED = "run.rejected"
    RUN_REFUSED = "run.refused"
    INPUT_REFUSED = "input.refused"
    STATE_UPDATED = "state.updated"
    THREAD_MADE = "thread.create"
    THREAD_CHANGED = "thread.update"
    THREAD_COPIED = "thread.copy"
    THREAD_DELETED = "thread.delete"

    # Tools
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_DECIDED = "approval.decided"
    QUESTION_ANSWERED = "question.answered"
    """A graph's paused run was resumed."""
    TOOL_EXECUTED = "tool.executed"
    TOOL_REFUSED = "tool.refused"
    TOOL_RESULT_IGNORED = "tool.result_ignored"

    # Operation
    RECORD_DEAD_LETTERED = "record.dead_lettered"
    RECORD_REPLAYED = "record.replayed"
    """A dead letter was sent again."""
    STATE_RECOVERED = "state.recovered"
    """Stores were restored from the topics."""
    TABLES_MIGRATED = "tables.migrated"
    TOPICS_CHANGED = "topics.changed"
    ACCESS_RULES_APPLIED = "access_rules.applied"
    """`cauce topics acls --apply`."""
