-- Lists are read in pages. details of an accepted run, which may be large, stand beside its body: lists read none of them. Older
-- rows have them in the body.
ALTER TABLE accepted_runs ADD COLUMN details BLOB;
CREATE INDEX accepted_runs_by_thread ON accepted_runs (tenant_id, thread_id, expires_at);
CREATE INDEX runs_by_end ON runs (tenant_id, thread_id, last_seq);
