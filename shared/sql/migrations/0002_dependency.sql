-- What an attempt waits for. One row is the arbiter: it alone says whether the wait is open, frozen or resumed.

CREATE TABLE wait_reason (
    reason text PRIMARY KEY,
    delay_setting text NOT NULL,       -- which setting holds the delay where a call names none
    threshold_setting text             -- a wait whose end is known and nearer than this gets no checkpoint
);

INSERT INTO wait_reason VALUES
    ('WAIT_FOR_TASK', 'delay_task_ms', NULL),
    ('WAIT_FOR_BATCH', 'delay_batch_ms', NULL),
    ('WAIT_FOR_DURATION', 'delay_duration_ms', 'duration_threshold_ms'),
    ('MANUAL', 'delay_manual_ms', 'duration_threshold_ms'),
    ('RETRYING_AFTER_FAILURE', 'delay_retry_ms', 'retry_threshold_ms');

-- What is said of it before its wait comes makes the row with run_id null; the wait then finds it.
CREATE TABLE dependency (
    id text PRIMARY KEY,
    run_id text,
    attempt integer,
    wait_number integer,
    reason text REFERENCES wait_reason (reason),
    key text,
    workload jsonb,
    reply_to text,
    traceparent text,
    handshake boolean,
    resume_at timestamptz,
    digest text,                       -- of what the upstream said; tells a repeat from a conflict
    delay_ms integer,
    delay_from text,                   -- call, key or reason
    will_checkpoint boolean,           -- as it was answered; due_at decides
    why text,
    registered_at timestamptz,
    early_at timestamptz,              -- when the row was made before its wait
    due_at timestamptz,                -- of its checkpoint; null where none will be taken
    completed_at timestamptz,
    outcome jsonb,
    outcome_type text,
    open_items integer,                -- of a batch: members that have not completed
    is_sealed boolean,                 -- of a batch: no member will be added
    checkpoint_id bigint,              -- set by an accepted checkpoint: of this and resumed_at one comes first
    resumed_at timestamptz,
    called_off_at timestamptz,         -- only its checkpoint is off
    call_off_reason text,
    cancelled_at timestamptz,          -- the wait is over, and its continuation too
    cancel_reason text,
    sends integer NOT NULL DEFAULT 0,
    claimed_until timestamptz,
    done_at timestamptz,
    look_at timestamptz,               -- when a sweep has to look again; null when nothing is left to do
    CHECK (run_id IS NOT NULL OR early_at IS NOT NULL),
    CHECK (open_items >= 0),
    CHECK (resumed_at IS NULL OR completed_at IS NOT NULL),
    CHECK (done_at IS NULL OR resumed_at IS NOT NULL)
) WITH (fillfactor = 70);              -- four updates a wait: a third less WAL than at 100

CREATE UNIQUE INDEX one_wait_number ON dependency (run_id, wait_number) WHERE run_id IS NOT NULL;
CREATE UNIQUE INDEX one_open_wait ON dependency (run_id)
    WHERE run_id IS NOT NULL AND resumed_at IS NULL AND cancelled_at IS NULL;
CREATE INDEX open_waits_of_key ON dependency (key)
    WHERE key IS NOT NULL AND resumed_at IS NULL AND cancelled_at IS NULL;
CREATE INDEX dependency_look_at ON dependency (look_at) WHERE look_at IS NOT NULL;

-- What was said of a run before its wait came. Written by cancels only; every column only ever rises.
CREATE TABLE run_mark (
    run_id text PRIMARY KEY,
    run_over boolean NOT NULL DEFAULT false,
    waits_over_up_to integer NOT NULL DEFAULT 0,
    attempt_over integer NOT NULL DEFAULT 0,
    called_off_up_to integer NOT NULL DEFAULT 0,
    reason text NOT NULL,
    raised_at timestamptz NOT NULL
);
