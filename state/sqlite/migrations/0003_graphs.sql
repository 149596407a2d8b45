-- Graphs of the installation's own: the rows of their states, and the assistants that users made on them.

CREATE TABLE state_rows (
    tenant_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    kind      TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    body      BLOB NOT NULL,
    PRIMARY KEY (tenant_id, thread_id, kind, seq)
);

-- newest: the highest version that was made, current: the one that is used.
CREATE TABLE assistants (
    tenant_id    TEXT NOT NULL,
    assistant_id TEXT NOT NULL,
    newest       INTEGER NOT NULL,
    current      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, assistant_id)
) WITHOUT ROWID;

CREATE TABLE assistant_versions (
    tenant_id    TEXT NOT NULL,
    assistant_id TEXT NOT NULL,
    version      INTEGER NOT NULL,
    body         BLOB NOT NULL,
    PRIMARY KEY (tenant_id, assistant_id, version)
);
