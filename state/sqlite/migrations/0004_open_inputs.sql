-- Inputs without a turn yet: begun is 1 once a worker is at it. Rows past expires_at are invisible.
CREATE TABLE open_inputs (
    tenant_id  TEXT NOT NULL,
    thread_id  TEXT NOT NULL,
    input_id   TEXT NOT NULL,
    begun      INTEGER NOT NULL,
    body       TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, thread_id, input_id)
) WITHOUT ROWID;
CREATE INDEX open_inputs_by_expiry ON open_inputs (expires_at);

-- What lists of threads say stands beside the heads, which may be large: a list reads none of them.
ALTER TABLE threads ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE threads ADD COLUMN condition TEXT NOT NULL DEFAULT 'idle';
ALTER TABLE threads ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE threads ADD COLUMN agent_id TEXT NOT NULL DEFAULT '';
UPDATE threads SET
    deleted = coalesce(json_extract(head, '$.deleted'), 0),
    metadata = coalesce(json_extract(head, '$.metadata'), '{}'),
    agent_id = coalesce(json_extract(head, '$.agent_id'), ''),
    condition = CASE
        WHEN coalesce(json_extract(head, '$.run.paused'), 0) THEN 'approval'
        WHEN EXISTS (SELECT 1 FROM json_each(head, '$.pending') WHERE json_extract(value, '$.state') = 'approval')
            AND NOT EXISTS (SELECT 1 FROM json_each(head, '$.pending') WHERE json_extract(value, '$.state') = 'running')
            THEN 'approval'
        WHEN json_extract(head, '$.run.run_id') IS NOT NULL THEN 'busy'
        WHEN json_array_length(head, '$.queued') > 0 THEN 'busy'
        WHEN json_extract(head, '$.last.outcome') = 'failed' THEN 'failed'
        ELSE 'idle'
    END;
DROP INDEX threads_by_user;
CREATE INDEX threads_by_user ON threads (tenant_id, user_id, deleted, updated_at);
