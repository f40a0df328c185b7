-- Registering waits and deferring their checkpoints: the rules of `checkpoint.defer`.

CREATE FUNCTION check_defer(m jsonb) RETURNS jsonb LANGUAGE sql STABLE
RETURN coalesce(
    check_size(m),
    check_object('', m, ARRAY['v', 'run_id', 'attempt', 'wait_number', 'reason', 'dependency', 'workload',
                              'delay_ms', 'key', 'handshake', 'reply_to', 'receipt_to', 'traceparent']),
    check_version(m),
    check_id('run_id', m -> 'run_id'),
    check_integer('attempt', m -> 'attempt', 1, 2147483647),
    check_integer('wait_number', m -> 'wait_number', 1, 2147483647),
    check_one_of('reason', m -> 'reason', ARRAY['WAIT_FOR_TASK', 'WAIT_FOR_BATCH', 'WAIT_FOR_DURATION', 'MANUAL',
                                                'RETRYING_AFTER_FAILURE']),
    check_object('dependency', m -> 'dependency', ARRAY['id', 'items', 'sealed', 'resume_at']),
    check_id('dependency.id', m -> 'dependency' -> 'id'),
    CASE WHEN m -> 'dependency' ->> 'id' = m ->> 'run_id' THEN refusal(
        'waits-for-itself',
        format('dependency.id is the run''s own id %s; expected the id of what it waits for. Name the wait, for '
               'example child and attempt.', m ->> 'run_id'), '{"field": "dependency.id"}') END,
    check_items(m -> 'dependency', m ->> 'reason' = 'WAIT_FOR_BATCH'),
    check_resume_at(field(m -> 'dependency', 'resume_at'),
                    m ->> 'reason' IN ('WAIT_FOR_DURATION', 'RETRYING_AFTER_FAILURE'),
                    m ->> 'reason' IN ('WAIT_FOR_DURATION', 'RETRYING_AFTER_FAILURE', 'MANUAL')),
    check_workload(m -> 'workload'),
    CASE WHEN field(m, 'delay_ms') IS NOT NULL THEN check_integer('delay_ms', m -> 'delay_ms', 0, 172800000) END,
    CASE WHEN field(m, 'key') IS NOT NULL THEN check_id('key', m -> 'key') END,
    CASE WHEN field(m, 'handshake') IS NOT NULL THEN check_boolean('handshake', m -> 'handshake') END,
    check_reply_to('reply_to', field(m, 'reply_to')),
    check_reply_to('receipt_to', field(m, 'receipt_to')),
    check_traceparent(field(m, 'traceparent')));

-- Which delay a wait gets: call, key or reason; clamped to the bounds.
CREATE FUNCTION wait_delay(m jsonb, s jsonb, OUT delay_ms integer, OUT delay_from text, OUT clamp text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    named bigint := (m ->> 'delay_ms')::bigint;
BEGIN
    delay_from := 'call';
    IF named IS NULL THEN
        named := (s -> 'key_delays' ->> (m ->> 'key'))::bigint;
        delay_from := 'key';
    END IF;
    IF named IS NULL THEN
        named := (s ->> (SELECT r.delay_setting FROM wait_reason r WHERE r.reason = m ->> 'reason'))::bigint;
        delay_from := 'reason';
    END IF;
    delay_ms := greatest((s ->> 'delay_min_ms')::bigint, least((s ->> 'delay_max_ms')::bigint, named));
    clamp := CASE WHEN delay_ms > named THEN 'delay-raised-to-minimum'
                  WHEN delay_ms < named THEN 'delay-cut-to-maximum' END;
END $$;

-- The row that a message asks for, before anything else is known.
CREATE FUNCTION wait_of(m jsonb, s jsonb) RETURNS dependency LANGUAGE plpgsql STABLE AS $$
DECLARE
    w dependency;
    d record := wait_delay(m, s);
BEGIN
    w.id := m -> 'dependency' ->> 'id';
    w.run_id := m ->> 'run_id';
    w.attempt := m ->> 'attempt';
    w.wait_number := m ->> 'wait_number';
    w.reason := m ->> 'reason';
    w.key := m ->> 'key';
    w.workload := jsonb_strip_nulls(m -> 'workload');
    w.reply_to := coalesce(m ->> 'reply_to', 'continuations');
    w.traceparent := m ->> 'traceparent';
    w.handshake := coalesce((m ->> 'handshake')::boolean, false);
    -- psycopg cannot read a moment before the year 1, which an offset can make of one in it.
    w.resume_at := CASE WHEN field(m -> 'dependency', 'resume_at') IS NOT NULL
                        THEN greatest(moment(m -> 'dependency' -> 'resume_at'), 'epoch') END;
    -- Defaults written out and left out are the same message; how it is answered and traced is not its content.
    IF w.reason = 'WAIT_FOR_BATCH' THEN
        w.is_sealed := coalesce((m -> 'dependency' ->> 'sealed')::boolean, true);
        m := jsonb_set(m, '{dependency,sealed}', to_jsonb(w.is_sealed));
    END IF;
    w.digest := md5((jsonb_strip_nulls(m - ARRAY['receipt_to', 'traceparent'])
                     || jsonb_build_object('reply_to', w.reply_to, 'handshake', w.handshake))::text);
    w.delay_ms := d.delay_ms;
    w.delay_from := d.delay_from;
    w.why := d.clamp;
    w.will_checkpoint := true;
    w.registered_at := clock();
    w.due_at := clock() + milliseconds(d.delay_ms);
    w.sends := 0;
    RETURN w;
END $$;

-- Will there be a checkpoint, and why not. due_at stays where it may still become possible.
CREATE FUNCTION plan_checkpoint(w dependency, mark run_mark, s jsonb) RETURNS dependency LANGUAGE plpgsql STABLE AS $$
DECLARE
    threshold interval := milliseconds((s ->> (
        SELECT r.threshold_setting FROM wait_reason r WHERE r.reason = w.reason))::bigint);
    reason_not text := CASE
        WHEN w.completed_at IS NOT NULL THEN 'already-complete'
        WHEN w.resume_at < clock() + threshold OR w.due_at >= w.resume_at THEN 'ends-too-soon'
        WHEN mark.called_off_up_to >= w.wait_number THEN 'called-off'
    END;
BEGIN
    IF reason_not IS NOT NULL THEN
        w.will_checkpoint := false;
        w.why := reason_not;
        w.due_at := NULL;
        -- A MANUAL wait without a time ends when it is known that no checkpoint will be taken.
        IF w.reason = 'MANUAL' AND w.resume_at IS NULL THEN
            w.resume_at := clock();
        END IF;
    ELSIF NOT node_is_ready(w.workload ->> 'node', w.workload ->> 'engine', s) THEN
        w.will_checkpoint := false;
        w.why := 'node-not-seen';
    END IF;
    IF reason_not = 'called-off' THEN
        w.called_off_at := clock();
        w.call_off_reason := mark.reason;
    END IF;
    RETURN w;
END $$;

CREATE FUNCTION wait_answer(w dependency, is_duplicate boolean) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN jsonb_build_object(
    'dependency_id', w.id, 'wait_number', w.wait_number, 'duplicate', is_duplicate,
    'complete', coalesce(w.why = 'already-complete', false), 'will_checkpoint', w.will_checkpoint, 'why', w.why,
    'delay_ms', w.delay_ms, 'delay_from', w.delay_from, 'due_at', w.due_at);

-- Why a wait may not begin; null: it may. Checked in the contract's order, after repeats are dealt with.
-- Volatile: a stable function would count by the snapshot of the statement that called it, from before the lock.
CREATE FUNCTION wait_refusal(w dependency, newest dependency, mark run_mark, s jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    facts jsonb := jsonb_build_object('run_id', w.run_id, 'attempt', w.attempt, 'wait_number', w.wait_number);
    key_limit bigint := (s ->> 'open_waits_per_key')::bigint;
BEGIN
    IF mark.run_over OR mark.waits_over_up_to >= w.wait_number THEN
        RETURN refusal('run-over', format('run %s is over for wait %s (%s). Register no more waits of it.',
            w.run_id, w.wait_number, mark.reason), facts);
    ELSIF mark.attempt_over >= w.attempt OR newest.attempt > w.attempt THEN
        RETURN refusal('attempt-superseded', format('attempt %s of run %s is over; expected attempt %s or later. '
            'Stop this attempt.', w.attempt, w.run_id, greatest(mark.attempt_over + 1, newest.attempt)), facts);
    ELSIF newest.attempt = w.attempt AND newest.resumed_at IS NULL AND newest.cancelled_at IS NULL THEN
        RETURN refusal('checkpoint-in-progress', format('run %s still waits for %s (wait %s). Complete or cancel that '
            'wait first.', w.run_id, newest.id, newest.wait_number), facts);
    ELSIF newest.wait_number >= w.wait_number THEN
        RETURN refusal('wait-number-too-low', format('wait_number is %s; expected above %s. Count the waits of a run '
            'upwards.', w.wait_number, newest.wait_number), facts);
    -- Here and below not a repeat of this message, committed since `newest` was read: the insert finds that one.
    ELSIF EXISTS (SELECT FROM dependency d WHERE d.id = w.id AND d.run_id IS NOT NULL
                     AND (d.run_id, d.wait_number) <> (w.run_id, w.wait_number)) THEN
        RETURN refusal('dependency-taken', format('dependency %s belongs to another wait. Name each wait''s dependency '
            'anew, for example by child and attempt.', w.id), facts || jsonb_build_object('dependency_id', w.id));
    ELSIF key_limit > 0 AND w.key IS NOT NULL THEN
        -- One at a time per key, else two waits at once could both be the last that fits.
        PERFORM pg_advisory_xact_lock(17223, hashtext(w.key));
        IF (SELECT count(*) FROM dependency d
             WHERE d.key = w.key AND d.resumed_at IS NULL AND d.cancelled_at IS NULL
               AND (d.run_id, d.wait_number) <> (w.run_id, w.wait_number)) >= key_limit THEN
            RETURN refusal('too-many-waits', format('key %s has %s open waits, the limit of '
                'CHECKPOINT_OPEN_WAITS_PER_KEY. Wait until one has ended.', w.key, key_limit),
                facts || jsonb_build_object('key', w.key));
        END IF;
    END IF;
    RETURN NULL;
END $$;

-- Write the row. False: another registration of this run or dependency came first; nothing was changed.
CREATE FUNCTION insert_wait(w dependency, newest dependency) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF newest.attempt = w.attempt OR newest.id IS NULL THEN
        INSERT INTO dependency VALUES (w.*) ON CONFLICT DO NOTHING;
        RETURN FOUND;
    END IF;
    -- A higher attempt ends the waits of the lower ones, or, if its own wait cannot begin, nothing.
    BEGIN
        PERFORM end_waits(w.run_id, 2147483647, w.attempt - 1, 'SUPERSEDED');
        INSERT INTO dependency VALUES (w.*);
        RETURN true;
    EXCEPTION WHEN unique_violation THEN
        RETURN false;
    END;
END $$;

-- Register one wait: {answer, token} or a refusal. The run's bucket is locked. p_sends: the caller sends the
-- take or the hint after its commit; else a sweeper has to, at once.
CREATE FUNCTION register_wait(m jsonb, s jsonb, p_sends boolean) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    asked dependency := wait_of(m, s);
    w dependency;
    newest dependency;
    same dependency;
    early dependency;
    mark run_mark;
    items text[] := ARRAY(SELECT jsonb_array_elements_text(field(m -> 'dependency', 'items')));
    refused jsonb;
    turns_left integer := 100;  -- each other turn saw a registration that came between; so many never come
BEGIN
    LOOP
        IF turns_left = 0 THEN
            RAISE EXCEPTION 'wait % of run % finds a row that it cannot see', w.wait_number, w.run_id
                USING ERRCODE = 'CK090';
        END IF;
        turns_left := turns_left - 1;
        w := asked;
        SELECT d.* INTO newest FROM dependency d WHERE d.run_id = w.run_id ORDER BY d.wait_number DESC LIMIT 1;
        IF newest.wait_number >= w.wait_number THEN
            SELECT d.* INTO same FROM dependency d WHERE d.run_id = w.run_id AND d.wait_number = w.wait_number;
            IF same.id = w.id AND same.digest = w.digest THEN
                RETURN jsonb_build_object('answer', wait_answer(same, true));
            ELSIF same.id IS NOT NULL THEN
                RETURN refusal('wait-conflict', format('wait %s of run %s was registered before with other content '
                    '(dependency %s). Give a new wait a higher number.', w.wait_number, w.run_id, same.id),
                    jsonb_build_object('run_id', w.run_id, 'wait_number', w.wait_number, 'dependency_id', same.id));
            END IF;
        END IF;
        SELECT k.* INTO mark FROM run_mark k WHERE k.run_id = w.run_id;
        refused := wait_refusal(w, newest, mark, s);
        IF refused IS NULL AND w.reason = 'WAIT_FOR_BATCH' THEN
            refused := members_refusal(w.id, items);
        END IF;
        IF refused IS NOT NULL THEN
            RETURN refused;
        END IF;

        -- A bare `run_id IS NULL` would draw the planner onto early_row, and each wait would walk it whole.
        DELETE FROM dependency d WHERE d.id = w.id AND coalesce(d.run_id, '') = '' RETURNING d.* INTO early;
        IF w.reason = 'WAIT_FOR_BATCH' THEN
            w := join_early_items(w, early, items);
        ELSIF w.reason = 'WAIT_FOR_TASK' THEN  -- nobody outside completes a time
            w.completed_at := early.completed_at;
            w.outcome := early.outcome;
            w.outcome_type := early.outcome_type;
        END IF;
        w := plan_checkpoint(w, mark, s);
        w.look_at := CASE
            WHEN NOT p_sends THEN clock()
            WHEN w.completed_at IS NOT NULL THEN clock() + milliseconds((s ->> 'take_grace_ms')::bigint)
            WHEN w.delay_ms > (s ->> 'countdown_horizon_ms')::bigint
                THEN least(w.due_at - milliseconds((s ->> 'countdown_horizon_ms')::bigint), ends_by_itself_at(w, s))
            ELSE least(w.due_at + milliseconds((s ->> 'take_grace_ms')::bigint), ends_by_itself_at(w, s))
        END;
        EXIT WHEN insert_wait(w, newest);
        IF early.id IS NOT NULL THEN
            INSERT INTO dependency VALUES (early.*);
        END IF;
    END LOOP;

    IF w.reason = 'WAIT_FOR_BATCH' THEN
        PERFORM add_items(w.id, items);
    END IF;
    -- Sooner than the sweeper's longest sleep: it may not have looked so far ahead.
    IF w.look_at < clock() + interval '1 second' THEN
        PERFORM pg_notify('checkpoint_due', '');
    END IF;
    -- A process that waits again has gone on from its earlier waits.
    IF newest.attempt = w.attempt AND newest.done_at IS NULL THEN
        UPDATE dependency d SET done_at = clock(), look_at = NULL
         WHERE d.run_id = w.run_id AND d.wait_number < w.wait_number AND d.attempt = w.attempt
           AND d.resumed_at IS NOT NULL AND d.done_at IS NULL AND d.cancelled_at IS NULL;
    END IF;
    RETURN jsonb_build_object('answer', wait_answer(w, false), 'token', CASE
        WHEN newest.attempt < w.attempt
            THEN jsonb_build_object('run_id', w.run_id, 'wait_number', newest.wait_number, 'reason', 'SUPERSEDED') END);
END $$;
