-- Calling off: the marks, the waits that end, the checkpoints that are off. Rules of `checkpoint.cancel`.

CREATE TABLE cancel_rule (
    reason text PRIMARY KEY,
    ends text NOT NULL CHECK (ends IN ('run', 'attempt', 'checkpoint'))
);

INSERT INTO cancel_rule VALUES
    ('RUN_CANCELLED', 'run'),
    ('RUN_CRASHED', 'run'),
    ('RUN_EXPIRED', 'run'),
    ('RUN_COMPLETED', 'run'),
    ('ATTEMPT_OVER', 'attempt'),
    ('WORKLOAD_DISCONNECTED', 'checkpoint'),
    ('MANUAL', 'checkpoint');

CREATE FUNCTION check_cancel(m jsonb) RETURNS jsonb LANGUAGE sql STABLE
RETURN coalesce(
    check_size(m),
    check_object('', m, ARRAY['v', 'run_id', 'attempt', 'wait_number', 'reason', 'receipt_to']),
    check_version(m),
    check_id('run_id', m -> 'run_id'),
    check_object('reason', m -> 'reason', ARRAY['type', 'detail']),
    check_one_of('reason.type', m -> 'reason' -> 'type',
                 ARRAY['RUN_CANCELLED', 'RUN_CRASHED', 'RUN_EXPIRED', 'RUN_COMPLETED', 'ATTEMPT_OVER',
                       'WORKLOAD_DISCONNECTED', 'MANUAL']),
    CASE WHEN field(m -> 'reason', 'detail') IS NOT NULL
          AND (jsonb_typeof(m -> 'reason' -> 'detail') <> 'string'
               OR char_length(m -> 'reason' ->> 'detail') > 1000)
         THEN bad_field('reason.detail', m -> 'reason' -> 'detail', 'text of at most 1,000 characters') END,
    CASE WHEN field(m, 'attempt') IS NOT NULL OR m -> 'reason' ->> 'type' = 'ATTEMPT_OVER'
         THEN check_integer('attempt', field(m, 'attempt'), 1, 2147483647) END,
    CASE WHEN m -> 'reason' ->> 'type' = 'ATTEMPT_OVER' AND field(m, 'wait_number') IS NOT NULL
         THEN bad_field('wait_number', m -> 'wait_number', 'none, since ATTEMPT_OVER names an attempt') END,
    CASE WHEN field(m, 'wait_number') IS NOT NULL OR m -> 'reason' ->> 'type' IN ('WORKLOAD_DISCONNECTED', 'MANUAL')
         THEN check_integer('wait_number', field(m, 'wait_number'), 1, 2147483647) END,
    check_reply_to('receipt_to', field(m, 'receipt_to')));

-- End the waits of a run up to a wait number and an attempt, resumed or not; the highest that ended, or null.
CREATE FUNCTION end_waits(p_run_id text, p_wait_number integer, p_attempt integer, p_reason text) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    ended text[];
    highest integer;
BEGIN
    WITH over AS (
        UPDATE dependency d
           SET cancelled_at = clock(), cancel_reason = p_reason, look_at = NULL
         WHERE d.run_id = p_run_id AND d.wait_number <= p_wait_number AND d.attempt <= p_attempt
           AND d.done_at IS NULL AND d.cancelled_at IS NULL
        RETURNING d.id, d.wait_number)
    SELECT array_agg(over.id), max(over.wait_number) INTO ended, highest FROM over;
    -- A take does whatever duty is left: settle, free, discard.
    UPDATE checkpoint c
       SET status = CASE WHEN c.status IN ('accepted', 'restoring') THEN 'discarded' ELSE c.status END,
           lease_until = NULL,
           look_at = clock()
     WHERE c.dependency_id = ANY (ended)
       AND c.status IN ('taking', 'deferred', 'accepted', 'restoring');
    IF FOUND THEN
        PERFORM pg_notify('checkpoint_due', '');
    END IF;
    RETURN highest;
END $$;

-- Call off only the checkpoint of one wait: the wait goes on and is continued live.
CREATE FUNCTION call_off(p_run_id text, p_wait_number integer, p_reason text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    called_off text;
BEGIN
    UPDATE dependency d
       SET called_off_at = clock(), call_off_reason = p_reason,
           resume_at = CASE WHEN d.reason = 'MANUAL' THEN coalesce(d.resume_at, clock()) ELSE d.resume_at END,
           look_at = CASE WHEN d.reason = 'MANUAL' THEN coalesce(d.resume_at, clock())
                          ELSE ends_by_itself_at(d, settings()) END
     WHERE d.run_id = p_run_id AND d.wait_number = p_wait_number AND d.checkpoint_id IS NULL
       AND d.completed_at IS NULL AND d.cancelled_at IS NULL AND d.called_off_at IS NULL
    RETURNING d.id INTO called_off;
    UPDATE checkpoint c SET look_at = clock()
     WHERE c.dependency_id = called_off AND c.status IN ('taking', 'deferred');
    IF called_off IS NOT NULL THEN
        PERFORM pg_notify('checkpoint_due', '');
    END IF;
    RETURN called_off IS NOT NULL;
END $$;

-- {answer, token}. The run's bucket is locked exclusively.
CREATE FUNCTION cancel_waits(m jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    p_run_id text := m ->> 'run_id';
    p_reason text := m -> 'reason' ->> 'type';
    ends text := (SELECT r.ends FROM cancel_rule r WHERE r.reason = p_reason);
    up_to_wait integer := CASE WHEN ends = 'attempt' THEN 2147483647 ELSE coalesce((m ->> 'wait_number')::integer, 2147483647) END;
    up_to_attempt integer := CASE WHEN ends = 'attempt' THEN (m ->> 'attempt')::integer ELSE 2147483647 END;
    highest integer;
    is_off boolean := false;
BEGIN
    INSERT INTO run_mark AS k (run_id, run_over, waits_over_up_to, attempt_over, called_off_up_to, reason, raised_at)
    VALUES (p_run_id, ends = 'run' AND field(m, 'wait_number') IS NULL,
            CASE WHEN ends = 'run' THEN coalesce((m ->> 'wait_number')::integer, 0) ELSE 0 END,
            CASE WHEN ends = 'attempt' THEN up_to_attempt ELSE 0 END,
            CASE WHEN ends = 'checkpoint' THEN up_to_wait ELSE 0 END,
            p_reason, clock())
    ON CONFLICT (run_id) DO UPDATE
       SET run_over = k.run_over OR EXCLUDED.run_over,
           waits_over_up_to = greatest(k.waits_over_up_to, EXCLUDED.waits_over_up_to),
           attempt_over = greatest(k.attempt_over, EXCLUDED.attempt_over),
           called_off_up_to = greatest(k.called_off_up_to, EXCLUDED.called_off_up_to),
           reason = EXCLUDED.reason,
           raised_at = EXCLUDED.raised_at;
    IF ends = 'checkpoint' THEN
        is_off := call_off(p_run_id, up_to_wait, p_reason);
        highest := CASE WHEN is_off THEN up_to_wait END;
    ELSE
        highest := end_waits(p_run_id, up_to_wait, up_to_attempt, p_reason);
    END IF;
    RETURN jsonb_build_object(
        'answer', jsonb_build_object('called_off', is_off, 'wait_ended', ends <> 'checkpoint' AND highest IS NOT NULL),
        'token', CASE WHEN highest IS NOT NULL
                      THEN jsonb_build_object('run_id', p_run_id, 'wait_number', highest, 'reason', p_reason) END);
END $$;
