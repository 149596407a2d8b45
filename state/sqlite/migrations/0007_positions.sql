-- How far event sources have read. Tenant and user are empty for what a source reads for the whole installation.
CREATE TABLE positions (
    tenant_id TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    source    TEXT NOT NULL,
    body      BLOB NOT NULL,
    PRIMARY KEY (tenant_id, user_id, source)
) WITHOUT ROWID;
