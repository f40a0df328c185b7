-- What a run waited for is over: the rules of `dependency.complete`.
-- p_how: 'resume' (the resume worker alone) resumes the waits too; 'hint': the caller sends the hint after its commit;
-- 'sweep': a sweeper has to, at once.

CREATE FUNCTION only_adds_or_seals(m jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN field(m, 'item_id') IS NULL AND coalesce(field(m, 'items_added'), field(m, 'sealed')) IS NOT NULL;

CREATE FUNCTION check_complete(m jsonb) RETURNS jsonb LANGUAGE sql STABLE
RETURN coalesce(
    check_size(m),
    check_object('', m, ARRAY['v', 'dependency_id', 'item_id', 'outcome', 'outcome_type', 'items_added', 'sealed',
                              'receipt_to']),
    check_version(m),
    check_id('dependency_id', m -> 'dependency_id'),
    CASE WHEN field(m, 'item_id') IS NOT NULL THEN check_id('item_id', m -> 'item_id') END,
    CASE WHEN field(m, 'items_added') IS NOT NULL THEN check_ids('items_added', m -> 'items_added') END,
    CASE WHEN field(m, 'sealed') IS NOT NULL THEN check_boolean('sealed', m -> 'sealed') END,
    CASE WHEN only_adds_or_seals(m)
         THEN CASE WHEN coalesce(field(m, 'outcome'), field(m, 'outcome_type')) IS NOT NULL
                   THEN bad_field('outcome', coalesce(field(m, 'outcome'), field(m, 'outcome_type')),
                                  'none in a message that only adds or seals') END
         ELSE check_one_of('outcome_type', m -> 'outcome_type',
                           ARRAY['success', 'failure', 'cancelled', 'expired', 'crashed', 'timed_out']) END,
    CASE WHEN octet_length((m -> 'outcome')::text) > 65536
         THEN refusal('too-large', format('outcome is %s bytes; expected at most 65,536. Send a reference instead.',
                                          octet_length((m -> 'outcome')::text)), '{"field": "outcome"}') END,
    -- The message itself is the first of at most 16 levels. Strict: lax would look into an array, past it.
    CASE WHEN jsonb_path_exists(m, 'strict $.outcome.**{15 to last} ? (@.type() == "array" || @.type() == "object")',
                                silent => true)
         THEN bad_field('outcome', '"JSON nested deeper"', 'JSON at most 15 levels deep') END,
    -- Postgres would keep it, but no program on the way to the waiter could read it.
    CASE WHEN jsonb_path_exists(m, 'strict $.outcome.** ? (@.type() == "number" && (@ > 1.7976931348623158e308
                                                                         || @ < -1.7976931348623158e308))',
                                silent => true)
         THEN bad_field('outcome', '"a number out of range"', 'numbers that a double can hold') END,
    check_reply_to('receipt_to', field(m, 'receipt_to')));

-- Completion, and for the resume worker the resume too, in one conditional update of the same row: the ids that
-- were completed by it. coalesce(run_id, ''): a bare comparison would imply the predicate of one_open_wait, and
-- the planner would walk all open rows of that index for each batch (75 instead of 5 ms at 10,000 open).
CREATE FUNCTION complete_open(ids text[], by_id jsonb, s jsonb, p_how text) RETURNS text[]
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
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

-- Completions that come before their waits: the ids that were kept by this. Items of a batch may have come under
-- the same id; which of the two is meant is known when the wait comes.
CREATE FUNCTION keep_early(ids text[], by_id jsonb) RETURNS text[] LANGUAGE plpgsql AS $$
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

-- Completions of tasks: {completed, early, answers}.
CREATE FUNCTION record_tasks(messages jsonb, s jsonb, p_how text) RETURNS jsonb LANGUAGE plpgsql AS $$
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

-- One answer for each message, in their order.
CREATE FUNCTION completion_answers(messages jsonb, completed text[], early text[]) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
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

-- Completions that were checked, at most one transaction's worth: {completed, answers}, answers in their order.
-- Tasks first, then batches by id: rows are locked in one order by all.
CREATE FUNCTION record_completions(messages jsonb, p_how text) RETURNS jsonb LANGUAGE plpgsql AS $$
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

CREATE FUNCTION complete_dependency_many(messages jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
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

CREATE FUNCTION complete_dependency(message jsonb) RETURNS jsonb LANGUAGE sql
RETURN answer_or_raise(complete_dependency_many(jsonb_build_array(message)) -> 0);
