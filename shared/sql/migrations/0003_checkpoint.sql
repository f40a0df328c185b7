-- A checkpoint has a row from its first claim on, or from when its run was first asked; most waits never have one.

CREATE TABLE checkpoint_move (
    from_status text NOT NULL,
    to_status text NOT NULL,
    event text NOT NULL,
    PRIMARY KEY (from_status, to_status)
);

INSERT INTO checkpoint_move VALUES
    ('taking', 'accepted', 'offer'),           -- the dependency was still open
    ('taking', 'deferred', 'retry'),           -- thawed; the try failed, another may mend it
    ('taking', 'refused', 'close'),            -- thawed; the offer came too late
    ('taking', 'revoked', 'close'),            -- thawed; the wait ended, or its checkpoint was called off
    ('taking', 'failed', 'close'),             -- thawed; no retry can mend it, or none is left
    ('deferred', 'taking', 'claim'),
    ('deferred', 'refused', 'close'),          -- nothing to thaw
    ('deferred', 'revoked', 'close'),
    ('deferred', 'failed', 'close'),
    ('accepted', 'restoring', 'claim_restore'),
    ('accepted', 'discarded', 'cancel'),       -- the run or attempt is over; freeing and the image are still duties
    ('restoring', 'discarded', 'cancel'),
    ('restoring', 'accepted', 'give_back'),    -- the restore failed, another may mend it
    ('restoring', 'lost', 'lose'),             -- nothing is left that could be restored
    ('restoring', 'restored', 'permit');

CREATE TABLE checkpoint (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dependency_id text NOT NULL UNIQUE REFERENCES dependency (id) ON DELETE CASCADE,
    run_id text NOT NULL,
    wait_number integer NOT NULL,
    node text NOT NULL,
    workload jsonb NOT NULL,
    status text NOT NULL,
    epoch integer NOT NULL,                    -- grows with each claim, 0 before the first; names what the try stores
    tries integer NOT NULL,
    claimed_at timestamptz,
    due_at timestamptz NOT NULL,               -- of the next try; of a run that was asked: it may answer before
    asked_at timestamptz,                      -- handshake: `run.prepare` for the next try
    ready_at timestamptz,                      -- its answer
    location text,
    digest text,
    image_bytes bigint,
    is_portable boolean NOT NULL DEFAULT false, -- another node can fetch the image
    phases jsonb,                              -- milliseconds of each, and bytes of the dump
    error text,
    accepted_at timestamptz,
    closed_at timestamptz,
    freed_at timestamptz,                      -- the old process is gone; null after an accept is a duty
    restore_claimed_at timestamptz,
    restore_node text,                         -- that claimed the newest restore
    gone_since timestamptz,                    -- its own node finds nothing to restore since then
    lost_at timestamptz,
    restored_at timestamptz,
    restored_workload jsonb,
    discarded_at timestamptz,                  -- what it stored is gone; null after a restore or discard is a duty
    restores integer NOT NULL DEFAULT 0,
    lease_until timestamptz,                   -- of a restore: two nodes may try
    look_at timestamptz,
    CHECK ((epoch > 0) = (claimed_at IS NOT NULL)),
    CHECK (ready_at IS NULL OR asked_at IS NOT NULL),
    CHECK ((status = 'restoring') = (lease_until IS NOT NULL)),
    CHECK ((status = 'restored') = (restored_at IS NOT NULL)),
    CHECK ((status = 'lost') = (lost_at IS NOT NULL)),
    CHECK (status NOT IN ('taking', 'deferred') OR location IS NULL),
    CHECK (status NOT IN ('accepted', 'restoring', 'restored') OR location IS NOT NULL)
) WITH (fillfactor = 80);

CREATE INDEX checkpoint_look_at ON checkpoint (look_at) WHERE look_at IS NOT NULL;
-- For the node's agent, which asks what a process that stands still belongs to.
CREATE INDEX checkpoint_of_workload ON checkpoint (workload);
CREATE INDEX checkpoint_of_restored ON checkpoint (restored_workload) WHERE restored_workload IS NOT NULL;

-- The net under the WHERE of each statement: about 10 us a move.
CREATE FUNCTION refuse_illegal_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> OLD.status
       AND NOT EXISTS (SELECT FROM checkpoint_move m WHERE m.from_status = OLD.status AND m.to_status = NEW.status)
    THEN
        RAISE EXCEPTION 'checkpoint % would move from % to %; the table checkpoint_move has no such move',
            OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'CK090', HINT = 'illegal-move';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER legal_moves_only BEFORE UPDATE OF status ON checkpoint
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move();
