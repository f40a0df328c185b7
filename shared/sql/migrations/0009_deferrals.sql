-- The doors of what an upstream says of a run's waits: one call for a batch of messages, in their order.

-- Registrations share a run's bucket, cancels have it alone; a statement after this one reads what came before.
-- Buckets in ascending order, each once in the stronger mode, so that no two batches wait for each other.
CREATE FUNCTION lock_runs(kinds text[], messages jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    bucket record;
BEGIN
    FOR bucket IN
        SELECT (hashtextextended(m.message ->> 'run_id', 0) & 255)::integer AS number,
               bool_or(kinds[m.ordinal] = 'cancel') AS is_exclusive
          FROM jsonb_array_elements(messages) WITH ORDINALITY AS m (message, ordinal)
         GROUP BY 1 ORDER BY 1
    LOOP
        IF bucket.is_exclusive THEN
            PERFORM pg_advisory_xact_lock(17227, bucket.number);
        ELSE
            PERFORM pg_advisory_xact_lock_shared(17227, bucket.number);
        END IF;
    END LOOP;
END $$;

-- A run that was asked may be frozen now: {answer, take}, the take being what is sent then. One that comes late or
-- twice, or that nobody asked for, changes nothing. The row decides, and each wait has one of its own.
CREATE FUNCTION take_answer(m jsonb, s jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    w dependency;
    take jsonb;
BEGIN
    SELECT d.* INTO w FROM dependency d
     WHERE d.run_id = m ->> 'run_id' AND d.wait_number = (m ->> 'wait_number')::integer
       AND d.completed_at IS NULL AND d.cancelled_at IS NULL AND d.called_off_at IS NULL
       FOR NO KEY UPDATE;
    UPDATE checkpoint c
       SET ready_at = clock(), due_at = clock(), look_at = clock() + milliseconds((s ->> 'take_grace_ms')::bigint)
     WHERE c.dependency_id = w.id AND c.status = 'deferred'
       AND c.asked_at IS NOT NULL AND c.ready_at IS NULL AND c.due_at > clock()
    RETURNING jsonb_build_object('dependency_id', w.id, 'node', c.node, 'traceparent', w.traceparent) INTO take;
    RETURN jsonb_build_object('answer', jsonb_build_object('will_checkpoint', take IS NOT NULL), 'take', take);
END $$;

-- Messages that were checked: for each {answer, token or take} or {refused}. p_sends: see register_wait.
CREATE FUNCTION apply_deferrals(kinds text[], messages jsonb, p_sends boolean) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    s jsonb := settings();
    results jsonb[] := '{}';
    m record;
BEGIN
    PERFORM lock_runs(kinds, messages);
    FOR m IN SELECT e.message, e.ordinal FROM jsonb_array_elements(messages) WITH ORDINALITY AS e (message, ordinal)
    LOOP
        results := results || CASE kinds[m.ordinal]
            WHEN 'defer' THEN register_wait(m.message, s, p_sends)
            WHEN 'cancel' THEN cancel_waits(m.message)
            WHEN 'ready' THEN take_answer(m.message, s)
        END;
    END LOOP;
    RETURN to_jsonb(results);
END $$;

-- Check, then apply what passed; answers in the order of the messages.
CREATE FUNCTION checked_deferrals(p_kind text, messages jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    good jsonb[] := '{}';
    results jsonb[] := '{}';
    applied jsonb;
    taken integer := 0;
    refused jsonb;
    m jsonb;
BEGIN
    PERFORM require_read_committed();
    IF jsonb_typeof(messages) <> 'array' OR jsonb_array_length(messages) > 1000 THEN
        PERFORM answer_or_raise(bad_field('the argument', to_jsonb(jsonb_typeof(messages)),
                                          'an array of at most 1,000 messages'));
    END IF;
    FOR m IN SELECT e FROM jsonb_array_elements(messages) e LOOP
        refused := CASE p_kind WHEN 'defer' THEN check_defer(m) WHEN 'cancel' THEN check_cancel(m) END;
        results := results || coalesce(refused, 'null');
        IF refused IS NULL THEN
            good := good || m;
        END IF;
    END LOOP;
    applied := apply_deferrals(array_fill(p_kind, ARRAY[cardinality(good)]), to_jsonb(good), false);
    FOR i IN 1 .. cardinality(results) LOOP
        IF results[i] = 'null' THEN
            results[i] := coalesce(applied -> taken -> 'answer', applied -> taken);
            taken := taken + 1;
        END IF;
    END LOOP;
    RETURN to_jsonb(results);
END $$;

CREATE FUNCTION defer_checkpoint_many(messages jsonb) RETURNS jsonb LANGUAGE sql
RETURN checked_deferrals('defer', messages);

CREATE FUNCTION cancel_checkpoint_many(messages jsonb) RETURNS jsonb LANGUAGE sql
RETURN checked_deferrals('cancel', messages);

CREATE FUNCTION defer_checkpoint(message jsonb) RETURNS jsonb LANGUAGE sql
RETURN answer_or_raise(checked_deferrals('defer', jsonb_build_array(message)) -> 0);

CREATE FUNCTION cancel_checkpoint(message jsonb) RETURNS jsonb LANGUAGE sql
RETURN answer_or_raise(checked_deferrals('cancel', jsonb_build_array(message)) -> 0);
