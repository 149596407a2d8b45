-- What is due at a time, in microseconds since 1970.
CREATE TABLE timers (
    due       INTEGER NOT NULL,
    tenant_id TEXT NOT NULL,
    timer_id  TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    kind      TEXT NOT NULL,
    body      BLOB NOT NULL,
    PRIMARY KEY (due, tenant_id, timer_id)
);
CREATE INDEX timers_by_user ON timers (tenant_id, user_id, kind);
