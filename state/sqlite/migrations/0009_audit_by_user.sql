-- Which events name a user. The CASE is for bodies that went through another codec than this one, which no statement can read.
CREATE TABLE audit_by_user (
    tenant_id TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    position  INTEGER NOT NULL,
    event_id  TEXT NOT NULL,
    PRIMARY KEY (tenant_id, user_id, position, event_id)
) WITHOUT ROWID;

INSERT OR IGNORE INTO audit_by_user
SELECT tenant_id, json_extract(event, '$.user_id'), position, event_id
FROM (
    SELECT tenant_id, position, event_id, CASE WHEN json_valid(CAST(body AS TEXT)) THEN CAST(body AS TEXT) END AS event
    FROM audit
)
WHERE json_type(event, '$.user_id') = 'text' AND json_extract(event, '$.user_id') <> '';

INSERT OR IGNORE INTO audit_by_user
SELECT tenant_id, substr(json_extract(event, '$.actor'), 6), position, event_id
FROM (
    SELECT tenant_id, position, event_id, CASE WHEN json_valid(CAST(body AS TEXT)) THEN CAST(body AS TEXT) END AS event
    FROM audit
)
WHERE json_extract(event, '$.actor') GLOB 'user:?*';
