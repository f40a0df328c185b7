-- A continuation's id is its dependency's id: one for each wait, and it never changes.

-- True once: this call ended it. It is not sent again.
CREATE FUNCTION finish_continuation(continuation_id text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dependency d SET done_at = clock(), look_at = NULL
     WHERE d.id = continuation_id AND d.resumed_at IS NOT NULL AND d.done_at IS NULL;
    RETURN FOUND;
END $$;

-- True for one caller until its lease is over without `done`: thins out repeats, decides nothing.
CREATE FUNCTION claim_continuation(continuation_id text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dependency d
       SET claimed_until = clock() + milliseconds((settings() ->> 'continuation_lease_ms')::bigint)
     WHERE d.id = continuation_id AND d.resumed_at IS NOT NULL AND d.done_at IS NULL AND d.cancelled_at IS NULL
       AND (d.claimed_until IS NULL OR d.claimed_until <= clock());
    RETURN FOUND;
END $$;

-- Keyed by dependency id, for a batch by item id; each {type, value}; {} for a wait that ended at a time; null: no such continuation.
CREATE FUNCTION continuation_outcomes(continuation_id text) RETURNS jsonb LANGUAGE sql STABLE
RETURN (SELECT CASE WHEN d.resume_at IS NOT NULL THEN '{}'
                    WHEN d.open_items IS NOT NULL THEN batch_outcomes(d.id)
                    ELSE jsonb_build_object(d.id, jsonb_build_object('type', d.outcome_type, 'value', d.outcome)) END
          FROM dependency d WHERE d.id = continuation_id AND d.resumed_at IS NOT NULL);
