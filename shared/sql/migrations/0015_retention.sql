-- What is finished is deleted after a while. Block ranges follow the order of registration and cost next to nothing;
-- rows whose wait never came are few.
CREATE INDEX dependency_registered_at ON dependency USING brin (registered_at) WITH (autosummarize = on);
CREATE INDEX early_row ON dependency (early_at) WHERE run_id IS NULL;
CREATE INDEX run_mark_raised_at ON run_mark (raised_at);
