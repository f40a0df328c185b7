-- The whole schema as it stands, made from the migrations by `make schema`. For reading: nothing runs it.

CREATE FUNCTION add_items(p_id text, items text[]) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    newly_open integer;
BEGIN
    UPDATE batch_item b SET is_member = true
     WHERE b.dependency_id = p_id AND b.item_id = ANY (items) AND NOT b.is_member;
    WITH added AS (
        INSERT INTO batch_item (dependency_id, item_id, is_member)
        SELECT p_id, i.item_id, true FROM unnest(items) AS i (item_id)
        ON CONFLICT DO NOTHING
        RETURNING item_id)
    SELECT count(*) INTO newly_open FROM added;
    RETURN newly_open;
END $$;

CREATE FUNCTION answer_or_raise(answer jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
DECLARE
    refused jsonb := answer -> 'refused';
BEGIN
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = (SELECT r.sqlstate FROM refusal_code r WHERE r.code = refused ->> 'code'),
            MESSAGE = refused ->> 'problem',
            HINT = refused ->> 'code',
            DETAIL = refused ->> 'facts';
    END IF;
    RETURN answer;
END $$;

CREATE FUNCTION apply_deferrals(kinds text[], messages jsonb, p_sends boolean) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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

CREATE TABLE dependency (
    id text NOT NULL,
    run_id text,
    attempt integer,
    wait_number integer,
    reason text,
    key text,
    workload jsonb,
    reply_to text,
    traceparent text,
    handshake boolean,
    resume_at timestamp with time zone,
    digest text,
    delay_ms integer,
    delay_from text,
    will_checkpoint boolean,
    why text,
    registered_at timestamp with time zone,
    early_at timestamp with time zone,
    due_at timestamp with time zone,
    completed_at timestamp with time zone,
    outcome jsonb,
    outcome_type text,
    open_items integer,
    is_sealed boolean,
    checkpoint_id bigint,
    resumed_at timestamp with time zone,
    called_off_at timestamp with time zone,
    call_off_reason text,
    cancelled_at timestamp with time zone,
    cancel_reason text,
    sends integer DEFAULT 0 NOT NULL,
    claimed_until timestamp with time zone,
    done_at timestamp with time zone,
    look_at timestamp with time zone,
    CONSTRAINT dependency_check CHECK (((run_id IS NOT NULL) OR (early_at IS NOT NULL))),
    CONSTRAINT dependency_check1 CHECK (((resumed_at IS NULL) OR (completed_at IS NOT NULL))),
    CONSTRAINT dependency_check2 CHECK (((done_at IS NULL) OR (resumed_at IS NOT NULL))),
    CONSTRAINT dependency_open_items_check CHECK ((open_items >= 0))
)
WITH (fillfactor='70');

CREATE FUNCTION apply_to_batch(INOUT d dependency, m jsonb, OUT is_first boolean) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
    newly_open integer := 0;
    was_member boolean;
BEGIN
    is_first := false;
    IF field(m, 'items_added') IS NOT NULL THEN
        newly_open := add_items(d.id, ARRAY(SELECT jsonb_array_elements_text(m -> 'items_added')));
        d.open_items := d.open_items + newly_open;
        is_first := newly_open > 0;
    END IF;
    IF field(m, 'item_id') IS NOT NULL THEN
        INSERT INTO batch_item AS b (dependency_id, item_id, is_member, completed_at, outcome, outcome_type)
        VALUES (d.id, m ->> 'item_id', false, clock(), m -> 'outcome', m ->> 'outcome_type')
        ON CONFLICT (dependency_id, item_id) DO UPDATE
           SET completed_at = EXCLUDED.completed_at, outcome = EXCLUDED.outcome, outcome_type = EXCLUDED.outcome_type
         WHERE b.completed_at IS NULL
        RETURNING b.is_member INTO was_member;
        is_first := was_member IS NOT NULL;
        d.open_items := d.open_items - CASE WHEN was_member THEN 1 ELSE 0 END;
    END IF;
    IF (m ->> 'sealed')::boolean AND NOT d.is_sealed THEN
        d.is_sealed := true;
        is_first := is_first OR field(m, 'item_id') IS NULL;
    END IF;
END $$;

CREATE FUNCTION refusal(code text, problem text, facts jsonb DEFAULT '{}'::jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN jsonb_build_object('refused', jsonb_build_object('code', code, 'problem', problem, 'facts', facts));

CREATE FUNCTION bad_field(name text, got jsonb, expected text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN refusal('invalid-message'::text, format('%s is %s; expected %s. Correct the message and send it again.'::text, COALESCE(NULLIF(name, ''::text), 'the message'::text), COALESCE("left"((got)::text, 80), 'missing'::text), expected), jsonb_build_object('field', name, 'expected', expected));

CREATE TABLE batch_item (
    dependency_id text NOT NULL,
    item_id text NOT NULL,
    is_member boolean NOT NULL,
    completed_at timestamp with time zone,
    outcome jsonb,
    outcome_type text
);

CREATE FUNCTION batch_outcomes(p_id text) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT COALESCE(jsonb_object_agg(b.item_id, jsonb_build_object('type', COALESCE(b.outcome_type, 'timed_out'::text), 'value', b.outcome)), '{}'::jsonb) AS "coalesce" FROM batch_item b WHERE ((b.dependency_id = batch_outcomes.p_id) AND b.is_member));

CREATE FUNCTION batch_refusal(d dependency, m jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    facts jsonb := jsonb_build_object('dependency_id', d.id, 'item_id', m -> 'item_id');
    added text[] := ARRAY(SELECT jsonb_array_elements_text(field(m, 'items_added')));
    unknown integer;
BEGIN
    IF cardinality(added) > 0 THEN
        unknown := (SELECT count(*) FROM unnest(added) AS i (item_id)
                     WHERE NOT EXISTS (SELECT FROM batch_item b WHERE b.dependency_id = d.id
                                          AND b.item_id = i.item_id AND b.is_member));
        -- The same message again adds nothing, and is no mistake.
        IF d.is_sealed AND unknown > 0 THEN
            RETURN refusal('batch-sealed', format('batch %s is sealed; expected no items_added. Register a wait of its '
                'own for what comes later.', d.id), facts);
        ELSIF unknown + (SELECT count(*) FROM batch_item b WHERE b.dependency_id = d.id AND b.is_member) > 10000 THEN
            RETURN bad_field('items_added', to_jsonb(cardinality(added)), 'at most 10,000 items in a batch');
        END IF;
    END IF;
    -- Before the wait nobody knows its items, however early the seal came.
    IF d.is_sealed AND d.run_id IS NOT NULL AND field(m, 'item_id') IS NOT NULL AND NOT (m ->> 'item_id' = ANY (added))
       AND NOT EXISTS (SELECT FROM batch_item b
                        WHERE b.dependency_id = d.id AND b.item_id = m ->> 'item_id' AND b.is_member) THEN
        RETURN refusal('unknown-item', format('item %s is not in the sealed batch %s. Complete an item of the batch.',
            m ->> 'item_id', d.id), facts);
    END IF;
    -- Items that were never added are bounded with the others: not all of them can become members.
    IF field(m, 'item_id') IS NOT NULL AND NOT (m ->> 'item_id' = ANY (added))
       AND NOT EXISTS (SELECT FROM batch_item b WHERE b.dependency_id = d.id AND b.item_id = m ->> 'item_id')
       AND EXISTS (SELECT FROM batch_item b WHERE b.dependency_id = d.id OFFSET 9999) THEN
        RETURN bad_field('item_id', m -> 'item_id', 'one of at most 10,000 items of a batch');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION call_off(p_run_id text, p_wait_number integer, p_reason text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION checked_deferrals(p_kind text, messages jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION cancel_checkpoint(message jsonb) RETURNS jsonb
    LANGUAGE sql
    RETURN answer_or_raise((checked_deferrals('cancel'::text, jsonb_build_array(message)) -> 0));

CREATE FUNCTION cancel_checkpoint_many(messages jsonb) RETURNS jsonb
    LANGUAGE sql
    RETURN checked_deferrals('cancel'::text, messages);

CREATE FUNCTION cancel_waits(m jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION check_boolean(name text, got jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN (jsonb_typeof(got) = 'boolean'::text) THEN NULL::jsonb ELSE bad_field(name, got, 'true or false'::text) END;

CREATE FUNCTION check_id(name text, got jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN ((jsonb_typeof(got) = 'string'::text) AND ((char_length((got #>> '{}'::text[])) >= 1) AND (char_length((got #>> '{}'::text[])) <= 200)) AND (octet_length((got #>> '{}'::text[])) <= 800) AND ((got #>> '{}'::text[]) !~ '[\u0001-\u001f\u007f-\u009f]'::text) AND ((got #>> '{}'::text[]) !~ '^\s*$'::text)) THEN NULL::jsonb ELSE bad_field(name, got, 'text of 1 to 200 characters and at most 800 bytes, not blank, without control characters'::text) END;

CREATE FUNCTION check_integer(name text, got jsonb, low bigint, high bigint) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN ((jsonb_typeof(got) = 'number'::text) AND ((got #>> '{}'::text[]) ~ '^-?\d{1,18}$'::text) AND CASE WHEN ((got #>> '{}'::text[]) ~ '^-?\d{1,18}$'::text) THEN ((((got #>> '{}'::text[]))::bigint >= low) AND (((got #>> '{}'::text[]))::bigint <= high)) ELSE NULL::boolean END) THEN NULL::jsonb ELSE bad_field(name, got, format('an integer from %s to %s'::text, low, high)) END;

CREATE FUNCTION check_object(name text, m jsonb, known text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN ((m IS NULL) OR (jsonb_typeof(m) <> 'object'::text)) THEN bad_field(name, m, 'an object'::text) WHEN ((m - known) <> '{}'::jsonb) THEN (SELECT refusal('unknown-field'::text, format('%s is an unknown field; expected only %s. Leave it out.'::text, u.field, array_to_string(check_object.known, ', '::text)), jsonb_build_object('field', u.field)) AS refusal FROM (SELECT concat_ws('.'::text, NULLIF(check_object.name, ''::text), "left"(min(k.k), 80)) AS field FROM jsonb_object_keys((check_object.m - check_object.known)) k(k)) u) ELSE NULL::jsonb END;

CREATE FUNCTION check_one_of(name text, got jsonb, words text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN ((jsonb_typeof(got) = 'string'::text) AND ((got #>> '{}'::text[]) = ANY (words))) THEN NULL::jsonb ELSE bad_field(name, got, ('one of '::text || array_to_string(words, ', '::text))) END;

CREATE FUNCTION check_pattern(name text, got jsonb, pattern text, expected text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN ((jsonb_typeof(got) = 'string'::text) AND ((got #>> '{}'::text[]) ~ (('^('::text || pattern) || ')$'::text)) AND ((got #>> '{}'::text[]) !~ '\n'::text)) THEN NULL::jsonb ELSE bad_field(name, got, expected) END;

CREATE FUNCTION check_reply_to(name text, got jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN (got IS NOT NULL) THEN check_pattern(name, got, 'continuations(\.[a-z0-9_-]{1,64})?'::text, 'continuations, or continuations. and 1 to 64 of a-z, 0-9, _ and -'::text) ELSE NULL::jsonb END;

CREATE FUNCTION check_size(m jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN ((pg_column_size(m) > 524288) AND (octet_length((m)::text) > 1048576)) THEN refusal('too-large'::text, format('the message is %s bytes; expected at most 1048576. Send a reference instead.'::text, octet_length((m)::text)), '{"field": ""}'::jsonb) ELSE NULL::jsonb END;

CREATE FUNCTION check_version(m jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN (((m ->> 'v'::text) = '1'::text) AND (jsonb_typeof((m -> 'v'::text)) = 'number'::text)) THEN NULL::jsonb ELSE refusal('unsupported-version'::text, format('v is %s; expected 1. Send version 1 of this message.'::text, COALESCE("left"(((m -> 'v'::text))::text, 80), 'missing'::text)), jsonb_build_object('field', 'v')) END;

CREATE FUNCTION field(m jsonb, name text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN NULLIF((m -> name), 'null'::jsonb);

CREATE FUNCTION check_cancel(m jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN COALESCE(check_size(m), check_object(''::text, m, ARRAY['v'::text, 'run_id'::text, 'attempt'::text, 'wait_number'::text, 'reason'::text, 'receipt_to'::text]), check_version(m), check_id('run_id'::text, (m -> 'run_id'::text)), check_object('reason'::text, (m -> 'reason'::text), ARRAY['type'::text, 'detail'::text]), check_one_of('reason.type'::text, ((m -> 'reason'::text) -> 'type'::text), ARRAY['RUN_CANCELLED'::text, 'RUN_CRASHED'::text, 'RUN_EXPIRED'::text, 'RUN_COMPLETED'::text, 'ATTEMPT_OVER'::text, 'WORKLOAD_DISCONNECTED'::text, 'MANUAL'::text]), CASE WHEN ((field((m -> 'reason'::text), 'detail'::text) IS NOT NULL) AND ((jsonb_typeof(((m -> 'reason'::text) -> 'detail'::text)) <> 'string'::text) OR (char_length(((m -> 'reason'::text) ->> 'detail'::text)) > 1000))) THEN bad_field('reason.detail'::text, ((m -> 'reason'::text) -> 'detail'::text), 'text of at most 1,000 characters'::text) ELSE NULL::jsonb END, CASE WHEN ((field(m, 'attempt'::text) IS NOT NULL) OR (((m -> 'reason'::text) ->> 'type'::text) = 'ATTEMPT_OVER'::text)) THEN check_integer('attempt'::text, field(m, 'attempt'::text), (1)::bigint, (2147483647)::bigint) ELSE NULL::jsonb END, CASE WHEN ((((m -> 'reason'::text) ->> 'type'::text) = 'ATTEMPT_OVER'::text) AND (field(m, 'wait_number'::text) IS NOT NULL)) THEN bad_field('wait_number'::text, (m -> 'wait_number'::text), 'none, since ATTEMPT_OVER names an attempt'::text) ELSE NULL::jsonb END, CASE WHEN ((field(m, 'wait_number'::text) IS NOT NULL) OR (((m -> 'reason'::text) ->> 'type'::text) = ANY (ARRAY['WORKLOAD_DISCONNECTED'::text, 'MANUAL'::text]))) THEN check_integer('wait_number'::text, field(m, 'wait_number'::text), (1)::bigint, (2147483647)::bigint) ELSE NULL::jsonb END, check_reply_to('receipt_to'::text, field(m, 'receipt_to'::text)));

CREATE FUNCTION check_ids(name text, got jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN (COALESCE(jsonb_typeof(got), ''::text) <> 'array'::text) THEN bad_field(name, got, 'an array of at most 10,000 distinct ids'::text) WHEN (jsonb_array_length(got) > 10000) THEN bad_field(name, to_jsonb(jsonb_array_length(got)), 'at most 10,000 ids'::text) WHEN (SELECT (count(*) <> count(DISTINCT i.value)) FROM jsonb_array_elements(check_ids.got) i(value)) THEN bad_field(name, '"an id twice"'::jsonb, 'distinct ids'::text) ELSE (SELECT check_id(check_ids.name, i.value) AS check_id FROM jsonb_array_elements(check_ids.got) i(value) WHERE (check_id(check_ids.name, i.value) IS NOT NULL) LIMIT 1) END;

CREATE FUNCTION only_adds_or_seals(m jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN ((field(m, 'item_id'::text) IS NULL) AND (COALESCE(field(m, 'items_added'::text), field(m, 'sealed'::text)) IS NOT NULL));

CREATE FUNCTION check_complete(m jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN COALESCE(check_size(m), check_object(''::text, m, ARRAY['v'::text, 'dependency_id'::text, 'item_id'::text, 'outcome'::text, 'outcome_type'::text, 'items_added'::text, 'sealed'::text, 'receipt_to'::text]), check_version(m), check_id('dependency_id'::text, (m -> 'dependency_id'::text)), CASE WHEN (field(m, 'item_id'::text) IS NOT NULL) THEN check_id('item_id'::text, (m -> 'item_id'::text)) ELSE NULL::jsonb END, CASE WHEN (field(m, 'items_added'::text) IS NOT NULL) THEN check_ids('items_added'::text, (m -> 'items_added'::text)) ELSE NULL::jsonb END, CASE WHEN (field(m, 'sealed'::text) IS NOT NULL) THEN check_boolean('sealed'::text, (m -> 'sealed'::text)) ELSE NULL::jsonb END, CASE WHEN only_adds_or_seals(m) THEN CASE WHEN (COALESCE(field(m, 'outcome'::text), field(m, 'outcome_type'::text)) IS NOT NULL) THEN bad_field('outcome'::text, COALESCE(field(m, 'outcome'::text), field(m, 'outcome_type'::text)), 'none in a message that only adds or seals'::text) ELSE NULL::jsonb END ELSE check_one_of('outcome_type'::text, (m -> 'outcome_type'::text), ARRAY['success'::text, 'failure'::text, 'cancelled'::text, 'expired'::text, 'crashed'::text, 'timed_out'::text]) END, CASE WHEN (octet_length(((m -> 'outcome'::text))::text) > 65536) THEN refusal('too-large'::text, format('outcome is %s bytes; expected at most 65,536. Send a reference instead.'::text, octet_length(((m -> 'outcome'::text))::text)), '{"field": "outcome"}'::jsonb) ELSE NULL::jsonb END, CASE WHEN jsonb_path_exists(m, 'strict $."outcome".**{15 to last}?(@.type() == "array" || @.type() == "object")'::jsonpath, silent => true) THEN bad_field('outcome'::text, '"JSON nested deeper"'::jsonb, 'JSON at most 15 levels deep'::text) ELSE NULL::jsonb END, CASE WHEN jsonb_path_exists(m, 'strict $."outcome".**?(@.type() == "number" && (@ > 179769313486231580000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 || @ < -179769313486231580000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000))'::jsonpath, silent => true) THEN bad_field('outcome'::text, '"a number out of range"'::jsonb, 'numbers that a double can hold'::text) ELSE NULL::jsonb END, check_reply_to('receipt_to'::text, field(m, 'receipt_to'::text)));

CREATE FUNCTION check_items(dependency jsonb, is_batch boolean) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN ((NOT is_batch) AND (COALESCE(field(dependency, 'items'::text), field(dependency, 'sealed'::text)) IS NOT NULL)) THEN bad_field('dependency.items'::text, field(dependency, 'items'::text), 'none, since this wait is not for a batch'::text) WHEN (NOT is_batch) THEN NULL::jsonb ELSE COALESCE(check_ids('dependency.items'::text, (dependency -> 'items'::text)), CASE WHEN (field(dependency, 'sealed'::text) IS NOT NULL) THEN check_boolean('dependency.sealed'::text, (dependency -> 'sealed'::text)) ELSE NULL::jsonb END) END;

CREATE FUNCTION clock() RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN COALESCE((NULLIF(current_setting('checkpoint.clock'::text, true), ''::text))::timestamp with time zone, now());

CREATE FUNCTION moment(got jsonb) RETURNS timestamp with time zone
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
BEGIN
    IF jsonb_typeof(got) = 'string'
       AND (got #>> '{}') ~* '^\d{4}-\d\d-\d\d[t ]([01]\d|2[0-3]):\d\d:[0-5]\d(\.\d+)?(z|[+-]\d\d:?\d\d)$' THEN
        -- Postgres reads no text of any length; it keeps microseconds anyway.
        RETURN regexp_replace(got #>> '{}', '(\.\d{9})\d+', '\1')::timestamptz;
    END IF;
    RETURN NULL;
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN
    RETURN NULL;
END $_$;

CREATE FUNCTION check_resume_at(got jsonb, is_required boolean, is_allowed boolean) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN CASE WHEN ((got IS NULL) AND (NOT is_required)) THEN NULL::jsonb WHEN (NOT is_allowed) THEN bad_field('dependency.resume_at'::text, got, 'none, since this wait does not end at a time'::text) WHEN ((moment(got) IS NULL) OR (moment(got) > (clock() + '10 years'::interval))) THEN bad_field('dependency.resume_at'::text, got, 'a time with a zone (RFC 3339), at most 10 years ahead'::text) ELSE NULL::jsonb END;

CREATE FUNCTION check_traceparent(got jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN (got IS NOT NULL) THEN check_pattern('traceparent'::text, got, '(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}'::text, 'a traceparent of W3C trace context, level 1'::text) ELSE NULL::jsonb END;

CREATE FUNCTION check_workload(w jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN COALESCE(check_object('workload'::text, w, ARRAY['engine'::text, 'node'::text, 'pid'::text, 'started_at_ticks'::text, 'container'::text]), check_one_of('workload.engine'::text, (w -> 'engine'::text), ARRAY['simulate'::text, 'process'::text, 'docker'::text, 'cri'::text]), check_pattern('workload.node'::text, (w -> 'node'::text), '[a-z0-9][a-z0-9-]{0,62}'::text, 'text of 1 to 63 of a-z, 0-9 and -, with no - first'::text), CASE WHEN (((field(w, 'pid'::text) IS NULL) = (field(w, 'container'::text) IS NULL)) OR ((field(w, 'pid'::text) IS NULL) <> (field(w, 'started_at_ticks'::text) IS NULL))) THEN bad_field('workload'::text, w, 'an object with either pid with started_at_ticks, or container'::text) ELSE NULL::jsonb END, CASE WHEN (field(w, 'container'::text) IS NOT NULL) THEN check_pattern('workload.container'::text, (w -> 'container'::text), '[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}'::text, 'text of 1 to 128 of letters, digits, _, . and -, with a letter or digit first'::text) ELSE COALESCE(check_integer('workload.pid'::text, (w -> 'pid'::text), (1)::bigint, (2147483647)::bigint), check_integer('workload.started_at_ticks'::text, (w -> 'started_at_ticks'::text), (0)::bigint, '999999999999999999'::bigint)) END);

CREATE FUNCTION check_defer(m jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN COALESCE(check_size(m), check_object(''::text, m, ARRAY['v'::text, 'run_id'::text, 'attempt'::text, 'wait_number'::text, 'reason'::text, 'dependency'::text, 'workload'::text, 'delay_ms'::text, 'key'::text, 'handshake'::text, 'reply_to'::text, 'receipt_to'::text, 'traceparent'::text]), check_version(m), check_id('run_id'::text, (m -> 'run_id'::text)), check_integer('attempt'::text, (m -> 'attempt'::text), (1)::bigint, (2147483647)::bigint), check_integer('wait_number'::text, (m -> 'wait_number'::text), (1)::bigint, (2147483647)::bigint), check_one_of('reason'::text, (m -> 'reason'::text), ARRAY['WAIT_FOR_TASK'::text, 'WAIT_FOR_BATCH'::text, 'WAIT_FOR_DURATION'::text, 'MANUAL'::text, 'RETRYING_AFTER_FAILURE'::text]), check_object('dependency'::text, (m -> 'dependency'::text), ARRAY['id'::text, 'items'::text, 'sealed'::text, 'resume_at'::text]), check_id('dependency.id'::text, ((m -> 'dependency'::text) -> 'id'::text)), CASE WHEN (((m -> 'dependency'::text) ->> 'id'::text) = (m ->> 'run_id'::text)) THEN refusal('waits-for-itself'::text, format('dependency.id is the run''s own id %s; expected the id of what it waits for. Name the wait, for example child and attempt.'::text, (m ->> 'run_id'::text)), '{"field": "dependency.id"}'::jsonb) ELSE NULL::jsonb END, check_items((m -> 'dependency'::text), ((m ->> 'reason'::text) = 'WAIT_FOR_BATCH'::text)), check_resume_at(field((m -> 'dependency'::text), 'resume_at'::text), ((m ->> 'reason'::text) = ANY (ARRAY['WAIT_FOR_DURATION'::text, 'RETRYING_AFTER_FAILURE'::text])), ((m ->> 'reason'::text) = ANY (ARRAY['WAIT_FOR_DURATION'::text, 'RETRYING_AFTER_FAILURE'::text, 'MANUAL'::text]))), check_workload((m -> 'workload'::text)), CASE WHEN (field(m, 'delay_ms'::text) IS NOT NULL) THEN check_integer('delay_ms'::text, (m -> 'delay_ms'::text), (0)::bigint, (172800000)::bigint) ELSE NULL::jsonb END, CASE WHEN (field(m, 'key'::text) IS NOT NULL) THEN check_id('key'::text, (m -> 'key'::text)) ELSE NULL::jsonb END, CASE WHEN (field(m, 'handshake'::text) IS NOT NULL) THEN check_boolean('handshake'::text, (m -> 'handshake'::text)) ELSE NULL::jsonb END, check_reply_to('reply_to'::text, field(m, 'reply_to'::text)), check_reply_to('receipt_to'::text, field(m, 'receipt_to'::text)), check_traceparent(field(m, 'traceparent'::text)));

CREATE FUNCTION claim_continuation(continuation_id text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE dependency d
       SET claimed_until = clock() + milliseconds((settings() ->> 'continuation_lease_ms')::bigint)
     WHERE d.id = continuation_id AND d.resumed_at IS NOT NULL AND d.done_at IS NULL AND d.cancelled_at IS NULL
       AND (d.claimed_until IS NULL OR d.claimed_until <= clock());
    RETURN FOUND;
END $$;

CREATE FUNCTION complete_dependency_many(messages jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
DECLARE
    checks jsonb[] := '{}';
    good jsonb[] := '{}';
    answers jsonb;
    taken integer := 0;
    m jsonb;
BEGIN
    PERFORM require_read_committed();
    IF jsonb_typeof(messages) <> 'array' OR jsonb_array_length(messages) > 1000 THEN
        PERFORM answer_or_raise(bad_field('the argument', to_jsonb(jsonb_typeof(messages)),
                                          'an array of at most 1,000 messages'));
    END IF;
    FOR m IN SELECT e FROM jsonb_array_elements(messages) e LOOP
        checks := checks || coalesce(check_complete(m), 'null');
        IF checks[cardinality(checks)] = 'null' THEN
            good := good || m;
        END IF;
    END LOOP;
    answers := record_completions(to_jsonb(good), 'sweep') -> 'answers';
    FOR i IN 1 .. cardinality(checks) LOOP
        IF checks[i] = 'null' THEN
            checks[i] := answers -> taken;
            taken := taken + 1;
        END IF;
    END LOOP;
    PERFORM pg_notify('checkpoint_due', '');
    RETURN to_jsonb(checks);
END $$;

CREATE FUNCTION complete_dependency(message jsonb) RETURNS jsonb
    LANGUAGE sql
    RETURN answer_or_raise((complete_dependency_many(jsonb_build_array(message)) -> 0));

CREATE FUNCTION complete_open(ids text[], by_id jsonb, s jsonb, p_how text) RETURNS text[]
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    AS $$
DECLARE
    completed text[];
BEGIN
    WITH locked AS MATERIALIZED (
        SELECT d.id FROM dependency d WHERE d.id = ANY (ids) ORDER BY d.id FOR NO KEY UPDATE
    ), over AS (
        UPDATE dependency d
           SET completed_at = clock(),
               resumed_at = CASE WHEN p_how = 'resume' THEN clock() END,
               outcome = by_id -> d.id -> 'outcome',
               outcome_type = by_id -> d.id ->> 'outcome_type',
               sends = CASE WHEN p_how = 'resume' THEN 1 ELSE 0 END,
               look_at = look_after_end(s, p_how)
         WHERE d.id = ANY ((SELECT array_agg(l.id) FROM locked l)::text[])
           AND coalesce(d.run_id, '') <> '' AND d.completed_at IS NULL AND d.resumed_at IS NULL
           AND d.cancelled_at IS NULL AND coalesce(d.reason, '') = 'WAIT_FOR_TASK'
        RETURNING d.id)
    SELECT coalesce(array_agg(over.id), '{}') INTO completed FROM over;
    RETURN completed;
END $$;

CREATE FUNCTION completion_answers(messages jsonb, completed text[], early text[]) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    firsts jsonb := (SELECT coalesce(jsonb_object_agg(i, true), '{}') FROM unnest(completed || early) i);
    others jsonb := '{}';
    answers jsonb[] := '{}';
    id text;
BEGIN
    IF jsonb_array_length(messages) > cardinality(completed) THEN
        others := (SELECT coalesce(jsonb_object_agg(d.id, jsonb_build_object(
                              'known', d.run_id IS NOT NULL, 'reason', d.reason)), '{}')
                     FROM dependency d
                    WHERE d.id = ANY (ARRAY(SELECT e ->> 'dependency_id' FROM jsonb_array_elements(messages) e)));
    END IF;
    FOR id IN SELECT e ->> 'dependency_id' FROM jsonb_array_elements(messages) e LOOP
        answers := answers || CASE
            WHEN others -> id ->> 'reason' = 'WAIT_FOR_BATCH' THEN
                bad_field('item_id', NULL, 'the id of an item, since the wait is for a batch')
            WHEN others -> id ->> 'reason' <> 'WAIT_FOR_TASK' THEN
                bad_field('dependency_id', to_jsonb(id), 'a wait that is not for a time: a time ends by itself')
            ELSE jsonb_build_object('first', firsts ? id, 'open_items', NULL,
                                    'waiter_known', coalesce((others -> id ->> 'known')::boolean, true)) END;
        firsts := firsts - id;
    END LOOP;
    RETURN to_jsonb(answers);
END $$;

CREATE FUNCTION continuation_outcomes(continuation_id text) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT CASE WHEN (d.resume_at IS NOT NULL) THEN '{}'::jsonb WHEN (d.open_items IS NOT NULL) THEN batch_outcomes(d.id) ELSE jsonb_build_object(d.id, jsonb_build_object('type', d.outcome_type, 'value', d.outcome)) END AS jsonb_build_object FROM dependency d WHERE ((d.id = continuation_outcomes.continuation_id) AND (d.resumed_at IS NOT NULL)));

CREATE FUNCTION defer_checkpoint(message jsonb) RETURNS jsonb
    LANGUAGE sql
    RETURN answer_or_raise((checked_deferrals('defer'::text, jsonb_build_array(message)) -> 0));

CREATE FUNCTION defer_checkpoint_many(messages jsonb) RETURNS jsonb
    LANGUAGE sql
    RETURN checked_deferrals('defer'::text, messages);

CREATE FUNCTION end_waits(p_run_id text, p_wait_number integer, p_attempt integer, p_reason text) RETURNS integer
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION milliseconds(count bigint) RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((count)::double precision * '00:00:00.001'::interval);

CREATE FUNCTION ends_by_itself_at(d dependency, s jsonb) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    RETURN CASE WHEN (NOT (d).is_sealed) THEN ((d).registered_at + milliseconds(((s ->> 'batch_seal_ms'::text))::bigint)) ELSE (d).resume_at END;

CREATE FUNCTION finish_continuation(continuation_id text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE dependency d SET done_at = clock(), look_at = NULL
     WHERE d.id = continuation_id AND d.resumed_at IS NOT NULL AND d.done_at IS NULL;
    RETURN FOUND;
END $$;

CREATE TABLE checkpoint (
    id bigint NOT NULL,
    dependency_id text NOT NULL,
    run_id text NOT NULL,
    wait_number integer NOT NULL,
    node text NOT NULL,
    workload jsonb NOT NULL,
    status text NOT NULL,
    epoch integer NOT NULL,
    tries integer NOT NULL,
    claimed_at timestamp with time zone,
    due_at timestamp with time zone NOT NULL,
    asked_at timestamp with time zone,
    ready_at timestamp with time zone,
    location text,
    digest text,
    image_bytes bigint,
    is_portable boolean DEFAULT false NOT NULL,
    phases jsonb,
    error text,
    accepted_at timestamp with time zone,
    closed_at timestamp with time zone,
    freed_at timestamp with time zone,
    restore_claimed_at timestamp with time zone,
    restore_node text,
    gone_since timestamp with time zone,
    lost_at timestamp with time zone,
    restored_at timestamp with time zone,
    restored_workload jsonb,
    discarded_at timestamp with time zone,
    restores integer DEFAULT 0 NOT NULL,
    lease_until timestamp with time zone,
    look_at timestamp with time zone,
    CONSTRAINT checkpoint_check CHECK (((epoch > 0) = (claimed_at IS NOT NULL))),
    CONSTRAINT checkpoint_check1 CHECK (((ready_at IS NULL) OR (asked_at IS NOT NULL))),
    CONSTRAINT checkpoint_check2 CHECK (((status = 'restoring'::text) = (lease_until IS NOT NULL))),
    CONSTRAINT checkpoint_check3 CHECK (((status = 'restored'::text) = (restored_at IS NOT NULL))),
    CONSTRAINT checkpoint_check4 CHECK (((status = 'lost'::text) = (lost_at IS NOT NULL))),
    CONSTRAINT checkpoint_check5 CHECK (((status <> ALL (ARRAY['taking'::text, 'deferred'::text])) OR (location IS NULL))),
    CONSTRAINT checkpoint_check6 CHECK (((status <> ALL (ARRAY['accepted'::text, 'restoring'::text, 'restored'::text])) OR (location IS NOT NULL)))
)
WITH (fillfactor='80');

CREATE FUNCTION frozen_since(c checkpoint) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    RETURN CASE WHEN ((c).status = 'taking'::text) THEN (c).claimed_at WHEN ((c).status = ANY (ARRAY['accepted'::text, 'restoring'::text])) THEN (c).accepted_at ELSE NULL::timestamp with time zone END;

CREATE FUNCTION has_duty(c checkpoint) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN (((c).status = ANY (ARRAY['taking'::text, 'deferred'::text])) OR (((c).status = ANY (ARRAY['accepted'::text, 'restoring'::text, 'restored'::text, 'discarded'::text])) AND ((c).freed_at IS NULL)) OR (((c).status = ANY (ARRAY['restored'::text, 'discarded'::text])) AND ((c).discarded_at IS NULL)));

CREATE FUNCTION insert_wait(w dependency, newest dependency) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION join_early_items(w dependency, early dependency, items text[]) RETURNS dependency
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
    w.is_sealed := w.is_sealed OR coalesce(early.is_sealed, false);
    w.open_items := (
        SELECT count(*) FROM (
            SELECT i.item_id FROM unnest(items) AS i (item_id)
            UNION
            SELECT b.item_id FROM batch_item b WHERE b.dependency_id = w.id AND b.is_member) member
         WHERE NOT EXISTS (SELECT FROM batch_item b WHERE b.dependency_id = w.id AND b.item_id = member.item_id
                                                      AND b.completed_at IS NOT NULL));
    IF w.is_sealed AND w.open_items = 0 THEN
        w.completed_at := clock();
        w.outcome_type := 'success';
    END IF;
    RETURN w;
END $$;

CREATE FUNCTION keep_early(ids text[], by_id jsonb) RETURNS text[]
    LANGUAGE plpgsql
    AS $$
DECLARE
    kept text[];
BEGIN
    WITH early AS (
        INSERT INTO dependency AS d (id, early_at, completed_at, outcome, outcome_type)
        SELECT i.id, clock(), clock(), by_id -> i.id -> 'outcome', by_id -> i.id ->> 'outcome_type'
          FROM unnest(ids) AS i (id) ORDER BY i.id
        ON CONFLICT (id) DO UPDATE
           SET completed_at = EXCLUDED.completed_at, outcome = EXCLUDED.outcome, outcome_type = EXCLUDED.outcome_type
         WHERE d.run_id IS NULL AND d.completed_at IS NULL
        RETURNING d.id)
    SELECT coalesce(array_agg(early.id), '{}') INTO kept FROM early;
    RETURN kept;
END $$;

CREATE FUNCTION lock_runs(kinds text[], messages jsonb) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION next_look(since timestamp with time zone, s jsonb) RETURNS timestamp with time zone
    LANGUAGE sql
    RETURN (clock() + (((1)::double precision + (random() / (10)::double precision)) * GREATEST(milliseconds(((s ->> 'resend_first_ms'::text))::bigint), LEAST(milliseconds(((s ->> 'resend_max_ms'::text))::bigint), (clock() - since)))));

CREATE FUNCTION look_after(d dependency, step text, s jsonb) RETURNS timestamp with time zone
    LANGUAGE sql
    RETURN CASE step WHEN 'continue'::text THEN next_look((d).resumed_at, s) WHEN 'resume'::text THEN next_look((d).completed_at, s) WHEN 'complete'::text THEN next_look(clock(), s) WHEN 'seal'::text THEN next_look(clock(), s) WHEN 'later'::text THEN LEAST(((d).due_at - milliseconds(((s ->> 'countdown_horizon_ms'::text))::bigint)), ends_by_itself_at(d, s)) WHEN 'take'::text THEN LEAST(ends_by_itself_at(d, s), CASE WHEN ((d).due_at > clock()) THEN ((d).due_at + milliseconds(((s ->> 'take_grace_ms'::text))::bigint)) ELSE next_look((d).due_at, s) END) WHEN 'node'::text THEN LEAST(ends_by_itself_at(d, s), next_look((d).due_at, s)) WHEN 'nothing'::text THEN CASE WHEN (((d).completed_at IS NULL) AND ((d).cancelled_at IS NULL)) THEN ends_by_itself_at(d, s) ELSE NULL::timestamp with time zone END ELSE NULL::timestamp with time zone END;

CREATE FUNCTION look_after_end(s jsonb, p_how text) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    RETURN (clock() + milliseconds(CASE p_how WHEN 'resume'::text THEN ((s ->> 'resend_first_ms'::text))::bigint WHEN 'hint'::text THEN ((s ->> 'take_grace_ms'::text))::bigint ELSE (0)::bigint END));

CREATE FUNCTION members_refusal(p_id text, items text[]) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT CASE WHEN (count(*) > 10000) THEN bad_field('dependency.items'::text, to_jsonb(count(*)), 'at most 10,000 ids in all'::text) ELSE NULL::jsonb END AS "case" FROM (SELECT i.item_id FROM unnest(members_refusal.items) i(item_id) UNION SELECT b.item_id FROM batch_item b WHERE ((b.dependency_id = members_refusal.p_id) AND b.is_member)) member);

CREATE TABLE node (
    name text NOT NULL,
    engines text[] NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    told_at timestamp with time zone,
    telling_until timestamp with time zone
);

CREATE FUNCTION node_is_ready(p_node text, p_engine text, s jsonb) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN (EXISTS (SELECT FROM node n WHERE ((n.name = node_is_ready.p_node) AND (node_is_ready.p_engine = ANY (n.engines)) AND (n.seen_at > (clock() - milliseconds(((node_is_ready.s ->> 'node_silent_ms'::text))::bigint))))));

CREATE FUNCTION node_for_restore(c checkpoint, s jsonb) RETURNS text
    LANGUAGE sql
    RETURN CASE WHEN node_is_ready((c).node, ((c).workload ->> 'engine'::text), s) THEN (c).node WHEN (c).is_portable THEN (SELECT n.name FROM node n WHERE node_is_ready(n.name, ((node_for_restore.c).workload ->> 'engine'::text), node_for_restore.s) ORDER BY (random()) LIMIT 1) ELSE NULL::text END;

CREATE FUNCTION node_of_duty(c checkpoint, s jsonb) RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE WHEN (((c).status = 'restored'::text) AND ((c).discarded_at IS NULL) AND (((c).freed_at IS NOT NULL) OR node_is_ready(((c).restored_workload ->> 'node'::text), ((c).workload ->> 'engine'::text), s))) THEN ((c).restored_workload ->> 'node'::text) ELSE (c).node END;

CREATE TABLE run_mark (
    run_id text NOT NULL,
    run_over boolean DEFAULT false NOT NULL,
    waits_over_up_to integer DEFAULT 0 NOT NULL,
    attempt_over integer DEFAULT 0 NOT NULL,
    called_off_up_to integer DEFAULT 0 NOT NULL,
    reason text NOT NULL,
    raised_at timestamp with time zone NOT NULL
);

CREATE FUNCTION plan_checkpoint(w dependency, mark run_mark, s jsonb) RETURNS dependency
    LANGUAGE plpgsql STABLE
    AS $$
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

CREATE FUNCTION record_batches(messages jsonb, batched boolean[], s jsonb, p_how text) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
DECLARE
    batch record;
    result jsonb;
    completed jsonb := '[]';
    answers jsonb := '{}';
BEGIN
    FOR batch IN
        SELECT e.m ->> 'dependency_id' AS id, array_agg(e.m ORDER BY e.ordinal) AS ms,
               array_agg(e.ordinal ORDER BY e.ordinal) AS ordinals
          FROM jsonb_array_elements(messages) WITH ORDINALITY AS e (m, ordinal)
         WHERE batched[e.ordinal]
         GROUP BY 1 ORDER BY 1
    LOOP
        result := record_items(batch.id, batch.ms, s, p_how);
        completed := completed || (result -> 'completed');
        answers := answers || (SELECT jsonb_object_agg(o.ordinal, result -> 'answers' -> (o.number - 1)::integer)
                                 FROM unnest(batch.ordinals) WITH ORDINALITY AS o (ordinal, number));
    END LOOP;
    RETURN jsonb_build_object('completed', completed, 'answers', answers);
END $$;

CREATE FUNCTION record_completions(messages jsonb, p_how text) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
DECLARE
    s jsonb := settings();
    batched boolean[] := ARRAY(
        SELECT coalesce(field(e.m, 'item_id'), field(e.m, 'items_added'), field(e.m, 'sealed')) IS NOT NULL
          FROM jsonb_array_elements(messages) WITH ORDINALITY AS e (m, ordinal) ORDER BY e.ordinal);
    tasks jsonb;
    batches jsonb;
    answers jsonb[] := '{}';
    next_task integer := 0;
BEGIN
    IF NOT true = ANY (batched) THEN
        RETURN record_tasks(messages, s, p_how);
    END IF;
    tasks := record_tasks((SELECT coalesce(jsonb_agg(e.m ORDER BY e.ordinal), '[]')
                             FROM jsonb_array_elements(messages) WITH ORDINALITY AS e (m, ordinal)
                            WHERE NOT batched[e.ordinal]), s, p_how);
    batches := record_batches(messages, batched, s, p_how);
    FOR i IN 1 .. cardinality(batched) LOOP
        IF batched[i] THEN
            answers := answers || (batches -> 'answers' -> i::text);
        ELSE
            answers := answers || (tasks -> 'answers' -> next_task);
            next_task := next_task + 1;
        END IF;
    END LOOP;
    RETURN jsonb_build_object('completed', (tasks -> 'completed') || (batches -> 'completed'),
                              'early', tasks -> 'early', 'answers', answers);
END $$;

CREATE FUNCTION record_items(p_id text, ms jsonb[], s jsonb, p_how text) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
DECLARE
    d dependency;
    applied record;
    answers jsonb[] := '{}';
    refused jsonb;
    is_first boolean;
    is_over boolean;
    m jsonb;
BEGIN
    LOOP
        SELECT r.* INTO d FROM dependency r WHERE r.id = p_id FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO dependency (id, early_at, open_items, is_sealed, sends)
        VALUES (p_id, clock(), 0, false, 0) ON CONFLICT DO NOTHING;
    END LOOP;
    -- Before the wait, a completion of the whole may have come under its id; which is meant is known with the wait.
    IF d.run_id IS NULL AND d.is_sealed IS NULL THEN
        d.is_sealed := false;
        d.open_items := 0;
    END IF;
    FOREACH m IN ARRAY ms LOOP
        refused := CASE WHEN d.is_sealed IS NULL
                        THEN bad_field('item_id', m -> 'item_id', 'none, since the wait is not for a batch')
                        ELSE batch_refusal(d, m) END;
        IF refused IS NOT NULL THEN
            answers := answers || refused;
            CONTINUE;
        END IF;
        is_first := false;
        -- What comes after the end is late: a continuation that is sent again says what it said.
        IF d.run_id IS NULL OR (d.completed_at IS NULL AND d.cancelled_at IS NULL) THEN
            applied := apply_to_batch(d, m);
            d := applied.d;
            is_first := applied.is_first;
        END IF;
        answers := answers || jsonb_build_object('first', is_first, 'open_items', d.open_items,
                                                 'waiter_known', d.run_id IS NOT NULL);
    END LOOP;
    is_over := d.run_id IS NOT NULL AND d.is_sealed AND d.open_items = 0
               AND d.completed_at IS NULL AND d.cancelled_at IS NULL;
    UPDATE dependency r
       SET open_items = d.open_items, is_sealed = d.is_sealed,
           completed_at = CASE WHEN is_over THEN clock() ELSE r.completed_at END,
           resumed_at = CASE WHEN is_over AND p_how = 'resume' THEN clock() ELSE r.resumed_at END,
           outcome_type = CASE WHEN is_over THEN 'success' ELSE r.outcome_type END,
           sends = r.sends + CASE WHEN is_over AND p_how = 'resume' THEN 1 ELSE 0 END,
           look_at = CASE WHEN is_over THEN look_after_end(s, p_how) ELSE r.look_at END
     WHERE r.id = p_id AND d.is_sealed IS NOT NULL;
    RETURN jsonb_build_object('completed', CASE WHEN is_over THEN jsonb_build_array(p_id) ELSE '[]' END,
                              'answers', to_jsonb(answers));
END $$;

CREATE FUNCTION record_tasks(messages jsonb, s jsonb, p_how text) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
DECLARE
    by_id jsonb := (                                   -- of two with one id the first stays
        SELECT jsonb_object_agg(f.id, f.m) FROM (
            SELECT DISTINCT ON (1) e.m ->> 'dependency_id' AS id, e.m, e.ordinal
              FROM jsonb_array_elements(messages) WITH ORDINALITY AS e (m, ordinal)
             ORDER BY 1, e.ordinal) f);
    missing text[] := (SELECT array_agg(k) FROM jsonb_object_keys(by_id) k);
    completed text[] := '{}';
    early text[] := '{}';
    newly text[];
BEGIN
    WHILE cardinality(missing) > 0 LOOP
        newly := complete_open(missing, by_id, s, p_how);
        completed := completed || newly;
        missing := ARRAY(SELECT unnest(missing) EXCEPT SELECT unnest(newly));
        EXIT WHEN cardinality(missing) = 0;
        newly := keep_early(missing, by_id);
        early := early || newly;
        -- What is left has a row; once more only for those whose wait was registered in between.
        missing := ARRAY(SELECT d.id FROM dependency d
                          WHERE d.id = ANY (missing) AND d.id <> ALL (early) AND coalesce(d.run_id, '') <> ''
                            AND d.completed_at IS NULL AND d.cancelled_at IS NULL AND d.reason = 'WAIT_FOR_TASK');
    END LOOP;
    RETURN jsonb_build_object('completed', completed, 'early', early,
                              'answers', completion_answers(messages, completed, early));
END $$;

CREATE FUNCTION refuse_illegal_move() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION register_wait(m jsonb, s jsonb, p_sends boolean) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION require_read_committed() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM answer_or_raise(refusal('isolation-level', format(
            'the transaction is %s; expected read committed. Begin it with ISOLATION LEVEL READ COMMITTED.',
            upper(current_setting('transaction_isolation')))));
    END IF;
END $$;

CREATE TABLE setting (
    name text NOT NULL,
    value jsonb NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE FUNCTION settings() RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT jsonb_object_agg(setting.name, setting.value) AS jsonb_object_agg FROM setting);

CREATE FUNCTION sweep_step(d dependency, is_claimed boolean, s jsonb) RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE WHEN (((d).run_id IS NULL) OR ((d).cancelled_at IS NOT NULL) OR ((d).done_at IS NOT NULL)) THEN 'nothing'::text WHEN ((d).resumed_at IS NOT NULL) THEN 'continue'::text WHEN ((d).completed_at IS NOT NULL) THEN 'resume'::text WHEN ((d).resume_at <= clock()) THEN 'complete'::text WHEN (ends_by_itself_at(d, s) <= clock()) THEN 'seal'::text WHEN (((d).due_at IS NULL) OR ((d).called_off_at IS NOT NULL) OR is_claimed) THEN 'nothing'::text WHEN ((d).due_at > (clock() + milliseconds(((s ->> 'countdown_horizon_ms'::text))::bigint))) THEN 'later'::text WHEN node_is_ready(((d).workload ->> 'node'::text), ((d).workload ->> 'engine'::text), s) THEN 'take'::text ELSE 'node'::text END;

CREATE FUNCTION take_answer(m jsonb, s jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION wait_answer(w dependency, is_duplicate boolean) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN jsonb_build_object('dependency_id', (w).id, 'wait_number', (w).wait_number, 'duplicate', is_duplicate, 'complete', COALESCE(((w).why = 'already-complete'::text), false), 'will_checkpoint', (w).will_checkpoint, 'why', (w).why, 'delay_ms', (w).delay_ms, 'delay_from', (w).delay_from, 'due_at', (w).due_at);

CREATE FUNCTION wait_delay(m jsonb, s jsonb, OUT delay_ms integer, OUT delay_from text, OUT clamp text) RETURNS record
    LANGUAGE plpgsql STABLE
    AS $$
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

CREATE FUNCTION wait_of(m jsonb, s jsonb) RETURNS dependency
    LANGUAGE plpgsql STABLE
    AS $$
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

CREATE FUNCTION wait_refusal(w dependency, newest dependency, mark run_mark, s jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION wait_state(d dependency, c checkpoint) RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE WHEN ((d).cancelled_at IS NOT NULL) THEN 'cancelled'::text WHEN ((c).status = 'lost'::text) THEN 'lost'::text WHEN ((d).done_at IS NOT NULL) THEN 'done'::text WHEN (((d).resumed_at IS NOT NULL) AND (((d).checkpoint_id IS NULL) OR ((c).status = 'restored'::text))) THEN 'continuing'::text WHEN ((d).resumed_at IS NOT NULL) THEN 'restoring'::text WHEN ((d).completed_at IS NOT NULL) THEN 'ending'::text WHEN ((d).checkpoint_id IS NOT NULL) THEN 'frozen'::text WHEN ((c).status = 'taking'::text) THEN 'taking'::text WHEN (((c).status = 'deferred'::text) AND ((c).asked_at IS NOT NULL)) THEN 'asking'::text WHEN ((c).status = 'deferred'::text) THEN 'retrying'::text WHEN (((c).status IS NULL) AND ((d).due_at IS NOT NULL) AND ((d).called_off_at IS NULL)) THEN 'deferred'::text ELSE 'waiting'::text END;

CREATE TABLE cancel_rule (
    reason text NOT NULL,
    ends text NOT NULL,
    CONSTRAINT cancel_rule_ends_check CHECK ((ends = ANY (ARRAY['run'::text, 'attempt'::text, 'checkpoint'::text])))
);

ALTER TABLE checkpoint ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME checkpoint_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE checkpoint_move (
    from_status text NOT NULL,
    to_status text NOT NULL,
    event text NOT NULL
);

CREATE TABLE left_on_node (
    node text NOT NULL,
    checkpoint_id bigint NOT NULL
);

CREATE TABLE refusal_code (
    code text NOT NULL,
    sqlstate text NOT NULL
);

CREATE TABLE rejection (
    id bigint NOT NULL,
    rejected_at timestamp with time zone DEFAULT now() NOT NULL,
    queue text NOT NULL,
    message text,
    message_id text,
    run_id text,
    dependency_id text,
    code text NOT NULL,
    problem text NOT NULL,
    facts jsonb DEFAULT '{}'::jsonb NOT NULL,
    raw bytea NOT NULL
);

ALTER TABLE rejection ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rejection_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW run_heartbeat AS
 SELECT DISTINCT ON (d.run_id) d.run_id,
    d.attempt,
    d.wait_number,
    wait_state(d.*, c.*) AS state,
    frozen_since(c.*) AS frozen_since,
    n.name AS node,
    n.seen_at AS node_seen_at,
    ((frozen_since(c.*) IS NOT NULL) AND (node_for_restore(c.*, ( SELECT settings() AS settings)) IS NOT NULL)) AS is_answered_for
   FROM ((dependency d
     LEFT JOIN checkpoint c ON ((c.dependency_id = d.id)))
     LEFT JOIN node n ON ((n.name = (COALESCE(c.restored_workload, d.workload) ->> 'node'::text))))
  WHERE (d.run_id IS NOT NULL)
  ORDER BY d.run_id, d.wait_number DESC;

CREATE VIEW run_timeline AS
 SELECT d.run_id,
    d.wait_number,
    e.at,
    e.event,
    e.detail
   FROM ((dependency d
     LEFT JOIN checkpoint c ON ((c.dependency_id = d.id)))
     CROSS JOIN LATERAL ( VALUES (d.registered_at,'wait.registered'::text,jsonb_build_object('reason', d.reason, 'dependency_id', d.id, 'attempt', d.attempt, 'why', d.why)), (
                CASE
                    WHEN (d.due_at > LEAST(d.completed_at, d.cancelled_at, d.called_off_at)) THEN NULL::timestamp with time zone
                    ELSE d.due_at
                END,'checkpoint.due'::text,jsonb_build_object('delay_ms', d.delay_ms, 'delay_from', d.delay_from)), (d.called_off_at,'checkpoint.called-off'::text,jsonb_build_object('reason', d.call_off_reason)), (c.asked_at,'checkpoint.asked'::text,jsonb_build_object('tries', c.tries)), (c.ready_at,'checkpoint.ready'::text,NULL::jsonb), (c.claimed_at,'checkpoint.claimed'::text,jsonb_build_object('tries', c.tries)), (c.accepted_at,'checkpoint.accepted'::text,jsonb_build_object('location', c.location, 'phases', c.phases)), (c.freed_at,'workload.freed'::text,c.workload), (c.closed_at,('checkpoint.'::text || c.status),jsonb_build_object('error', c.error)), (d.completed_at,'dependency.completed'::text,jsonb_build_object('outcome_type', d.outcome_type)), (d.resumed_at,'dependency.resumed'::text,jsonb_build_object('sends', d.sends)), (c.restore_claimed_at,'restore.claimed'::text,jsonb_build_object('node', c.restore_node, 'epoch', c.epoch, 'restores', c.restores, 'error', c.error)), (c.restored_at,'checkpoint.restored'::text,c.restored_workload), (c.lost_at,'checkpoint.lost'::text,jsonb_build_object('error', c.error)), (d.cancelled_at,'wait.cancelled'::text,jsonb_build_object('reason', d.cancel_reason)), (c.discarded_at,'image.discarded'::text,NULL::jsonb), (d.done_at,'continuation.done'::text,NULL::jsonb)) e(at, event, detail))
  WHERE ((d.run_id IS NOT NULL) AND (e.at IS NOT NULL));

CREATE TABLE schema_migration (
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE wait_reason (
    reason text NOT NULL,
    delay_setting text NOT NULL,
    threshold_setting text
);

ALTER TABLE ONLY batch_item
    ADD CONSTRAINT batch_item_pkey PRIMARY KEY (dependency_id, item_id);

ALTER TABLE ONLY cancel_rule
    ADD CONSTRAINT cancel_rule_pkey PRIMARY KEY (reason);

ALTER TABLE ONLY checkpoint
    ADD CONSTRAINT checkpoint_dependency_id_key UNIQUE (dependency_id);

ALTER TABLE ONLY checkpoint_move
    ADD CONSTRAINT checkpoint_move_pkey PRIMARY KEY (from_status, to_status);

ALTER TABLE ONLY checkpoint
    ADD CONSTRAINT checkpoint_pkey PRIMARY KEY (id);

ALTER TABLE ONLY dependency
    ADD CONSTRAINT dependency_pkey PRIMARY KEY (id);

ALTER TABLE ONLY left_on_node
    ADD CONSTRAINT left_on_node_pkey PRIMARY KEY (node, checkpoint_id);

ALTER TABLE ONLY node
    ADD CONSTRAINT node_pkey PRIMARY KEY (name);

ALTER TABLE ONLY refusal_code
    ADD CONSTRAINT refusal_code_pkey PRIMARY KEY (code);

ALTER TABLE ONLY refusal_code
    ADD CONSTRAINT refusal_code_sqlstate_key UNIQUE (sqlstate);

ALTER TABLE ONLY rejection
    ADD CONSTRAINT rejection_pkey PRIMARY KEY (id);

ALTER TABLE ONLY run_mark
    ADD CONSTRAINT run_mark_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY schema_migration
    ADD CONSTRAINT schema_migration_pkey PRIMARY KEY (number);

ALTER TABLE ONLY setting
    ADD CONSTRAINT setting_pkey PRIMARY KEY (name);

ALTER TABLE ONLY wait_reason
    ADD CONSTRAINT wait_reason_pkey PRIMARY KEY (reason);

CREATE INDEX checkpoint_look_at ON checkpoint USING btree (look_at) WHERE (look_at IS NOT NULL);

CREATE INDEX checkpoint_of_restored ON checkpoint USING btree (restored_workload) WHERE (restored_workload IS NOT NULL);

CREATE INDEX checkpoint_of_workload ON checkpoint USING btree (workload);

CREATE INDEX dependency_look_at ON dependency USING btree (look_at) WHERE (look_at IS NOT NULL);

CREATE INDEX dependency_registered_at ON dependency USING brin (registered_at) WITH (autosummarize='on');

CREATE INDEX early_row ON dependency USING btree (early_at) WHERE (run_id IS NULL);

CREATE INDEX left_by_checkpoint ON left_on_node USING btree (checkpoint_id);

CREATE UNIQUE INDEX one_open_wait ON dependency USING btree (run_id) WHERE ((run_id IS NOT NULL) AND (resumed_at IS NULL) AND (cancelled_at IS NULL));

CREATE UNIQUE INDEX one_wait_number ON dependency USING btree (run_id, wait_number) WHERE (run_id IS NOT NULL);

CREATE INDEX open_waits_of_key ON dependency USING btree (key) WHERE ((key IS NOT NULL) AND (resumed_at IS NULL) AND (cancelled_at IS NULL));

CREATE INDEX run_mark_raised_at ON run_mark USING btree (raised_at);

CREATE TRIGGER legal_moves_only BEFORE UPDATE OF status ON checkpoint FOR EACH ROW EXECUTE FUNCTION refuse_illegal_move();

ALTER TABLE ONLY checkpoint
    ADD CONSTRAINT checkpoint_dependency_id_fkey FOREIGN KEY (dependency_id) REFERENCES dependency(id) ON DELETE CASCADE;

ALTER TABLE ONLY dependency
    ADD CONSTRAINT dependency_reason_fkey FOREIGN KEY (reason) REFERENCES wait_reason(reason);

ALTER TABLE ONLY left_on_node
    ADD CONSTRAINT left_on_node_checkpoint_id_fkey FOREIGN KEY (checkpoint_id) REFERENCES checkpoint(id) ON DELETE CASCADE;
