-- What the gateway needs: runs that are over, runs that were promised, keys and sessions, items of users.

CREATE TABLE runs (
    tenant_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    run_id    TEXT NOT NULL,
    last_seq  INTEGER NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, thread_id, run_id)
) WITHOUT ROWID;

CREATE TABLE accepted_runs (
    tenant_id  TEXT NOT NULL,
    thread_id  TEXT NOT NULL,
    run_id     TEXT NOT NULL,
    body       TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, thread_id, run_id)
) WITHOUT ROWID;
CREATE INDEX accepted_runs_by_expiry ON accepted_runs (expires_at);

CREATE TABLE credentials (
    tenant_id     TEXT NOT NULL,
    kind          TEXT NOT NULL,
    credential_id TEXT NOT NULL,
    body          BLOB NOT NULL,
    expires_at    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, credential_id)
) WITHOUT ROWID;
CREATE INDEX credentials_by_expiry ON credentials (expires_at);

CREATE TABLE items (
    tenant_id  TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    namespace  TEXT NOT NULL,
    item_key   TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id, namespace, item_key)
) WITHOUT ROWID;
CREATE INDEX items_by_expiry ON items (expires_at);
