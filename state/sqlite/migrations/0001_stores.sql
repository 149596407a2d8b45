-- Times are microseconds since 1970 in UTC, bodies JSON text. Every key begins with the tenant.

CREATE TABLE threads (
    tenant_id  TEXT NOT NULL,
    thread_id  TEXT NOT NULL,
    version    INTEGER NOT NULL,
    user_id    TEXT NOT NULL,
    title      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    head       TEXT NOT NULL,
    PRIMARY KEY (tenant_id, thread_id)
);
CREATE INDEX threads_by_user ON threads (tenant_id, user_id, updated_at);

CREATE TABLE messages (
    tenant_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, thread_id, seq)
) WITHOUT ROWID;

CREATE TABLE events (
    tenant_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    type      TEXT NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, thread_id, seq)
) WITHOUT ROWID;

-- Rows past expires_at are invisible; every commit deletes a few of them.
CREATE TABLE inputs (
    tenant_id  TEXT NOT NULL,
    thread_id  TEXT NOT NULL,
    input_id   TEXT NOT NULL,
    outputs    BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, thread_id, input_id)
);
CREATE INDEX inputs_by_expiry ON inputs (expires_at);

-- identity: what of the entry never changes.
CREATE TABLE tool_calls (
    tenant_id  TEXT NOT NULL,
    call_id    TEXT NOT NULL,
    identity   TEXT NOT NULL,
    state      TEXT NOT NULL,
    owner      TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    result     TEXT,
    PRIMARY KEY (tenant_id, call_id)
);

CREATE TABLE tenants (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    version   INTEGER NOT NULL,
    body      TEXT NOT NULL
);

CREATE TABLE users (
    tenant_id TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);

-- The event id is part of the key: positions begin anew when a tenant's events move to another partition.
CREATE TABLE audit (
    tenant_id TEXT NOT NULL,
    position  INTEGER NOT NULL,
    event_id  TEXT NOT NULL,
    at        INTEGER NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, position, event_id)
) WITHOUT ROWID;

CREATE TABLE attempts (
    consumer_group TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    record_offset  INTEGER NOT NULL,
    begun          INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition, record_offset)
) WITHOUT ROWID;
