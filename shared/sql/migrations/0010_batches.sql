-- Batches: a wait for many items, each counted once; it ends once it is sealed and no member is open.

CREATE TABLE batch_item (
    dependency_id text NOT NULL,
    item_id text NOT NULL,
    is_member boolean NOT NULL,                -- false: it completed before it was added; kept while unsealed
    completed_at timestamptz,
    outcome jsonb,
    outcome_type text,
    PRIMARY KEY (dependency_id, item_id)
);

-- When a wait ends without anybody's word: at its time, or because its batch was never sealed.
CREATE FUNCTION ends_by_itself_at(d dependency, s jsonb) RETURNS timestamptz LANGUAGE sql STABLE
RETURN CASE WHEN NOT d.is_sealed THEN d.registered_at + milliseconds((s ->> 'batch_seal_ms')::bigint)
            ELSE d.resume_at END;

-- When a sweep has to look at a wait that has just ended; see `record_completions`.
CREATE FUNCTION look_after_end(s jsonb, p_how text) RETURNS timestamptz LANGUAGE sql STABLE
RETURN clock() + milliseconds(CASE p_how WHEN 'resume' THEN (s ->> 'resend_first_ms')::bigint
                                         WHEN 'hint' THEN (s ->> 'take_grace_ms')::bigint
                                         ELSE 0 END);

-- Add members; return how many of them are open. An item that completed before counts as a member from now on.
CREATE FUNCTION add_items(p_id text, items text[]) RETURNS integer LANGUAGE plpgsql AS $$
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

-- Why one message may not be applied to a batch; null: it may. The row is locked.
CREATE FUNCTION batch_refusal(d dependency, m jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
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

-- A wait's own items and those that were added before it are bounded together; null: they fit.
CREATE FUNCTION members_refusal(p_id text, items text[]) RETURNS jsonb LANGUAGE sql STABLE
RETURN (SELECT CASE WHEN count(*) > 10000
                    THEN bad_field('dependency.items', to_jsonb(count(*)), 'at most 10,000 ids in all') END
          FROM (SELECT i.item_id FROM unnest(items) AS i (item_id)
                UNION
                SELECT b.item_id FROM batch_item b WHERE b.dependency_id = p_id AND b.is_member) member);

-- Keyed by item: what each member ended with; one that never did has timed out with its batch.
CREATE FUNCTION batch_outcomes(p_id text) RETURNS jsonb LANGUAGE sql STABLE
RETURN (SELECT coalesce(jsonb_object_agg(b.item_id, jsonb_build_object(
                   'type', coalesce(b.outcome_type, 'timed_out'), 'value', b.outcome)), '{}')
          FROM batch_item b WHERE b.dependency_id = p_id AND b.is_member);

-- A batch that begins to wait: what was said of its items before counts, and it may be over at once.
CREATE FUNCTION join_early_items(w dependency, early dependency, items text[]) RETURNS dependency
LANGUAGE plpgsql STABLE AS $$
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

-- Apply one message to a batch whose row is locked: the row as it then stands, and whether anything changed.
CREATE FUNCTION apply_to_batch(INOUT d dependency, m jsonb, OUT is_first boolean) LANGUAGE plpgsql AS $$
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

-- The messages of one batch, in their order: {completed, answers}. The last item of a sealed batch ends the wait in
-- this very transaction; the row lock makes one of two last items the second.
CREATE FUNCTION record_items(p_id text, ms jsonb[], s jsonb, p_how text) RETURNS jsonb LANGUAGE plpgsql AS $$
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

-- All batches among the messages: {completed, answers}, answers by the ordinals of their messages.
CREATE FUNCTION record_batches(messages jsonb, batched boolean[], s jsonb, p_how text) RETURNS jsonb
LANGUAGE plpgsql AS $$
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
