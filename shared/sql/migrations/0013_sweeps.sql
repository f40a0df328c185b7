-- What a row calls for when a sweep looks at it. Level-triggered: the row alone says it, never a message.

-- Order matters: the first that holds.
CREATE FUNCTION sweep_step(d dependency, is_claimed boolean, s jsonb) RETURNS text LANGUAGE sql STABLE
RETURN CASE
    WHEN d.run_id IS NULL OR d.cancelled_at IS NOT NULL OR d.done_at IS NOT NULL THEN 'nothing'
    WHEN d.resumed_at IS NOT NULL THEN 'continue'
    WHEN d.completed_at IS NOT NULL THEN 'resume'
    WHEN d.resume_at <= clock() THEN 'complete'
    WHEN ends_by_itself_at(d, s) <= clock() THEN 'seal'
    WHEN d.due_at IS NULL OR d.called_off_at IS NOT NULL OR is_claimed THEN 'nothing'
    WHEN d.due_at > clock() + milliseconds((s ->> 'countdown_horizon_ms')::bigint) THEN 'later'
    WHEN node_is_ready(d.workload ->> 'node', d.workload ->> 'engine', s) THEN 'take'
    ELSE 'node'
END;

-- When to look again after that step; growing gaps for what was sent, the next moment of its own for the rest.
CREATE FUNCTION look_after(d dependency, step text, s jsonb) RETURNS timestamptz LANGUAGE sql VOLATILE
RETURN CASE step
    WHEN 'continue' THEN next_look(d.resumed_at, s)
    WHEN 'resume' THEN next_look(d.completed_at, s)
    WHEN 'complete' THEN next_look(clock(), s)
    WHEN 'seal' THEN next_look(clock(), s)
    WHEN 'later' THEN least(d.due_at - milliseconds((s ->> 'countdown_horizon_ms')::bigint), ends_by_itself_at(d, s))
    WHEN 'take' THEN least(ends_by_itself_at(d, s), CASE WHEN d.due_at > clock()
                                             THEN d.due_at + milliseconds((s ->> 'take_grace_ms')::bigint)
                                             ELSE next_look(d.due_at, s) END)
    WHEN 'node' THEN least(ends_by_itself_at(d, s), next_look(d.due_at, s))
    WHEN 'nothing' THEN CASE WHEN d.completed_at IS NULL AND d.cancelled_at IS NULL THEN ends_by_itself_at(d, s) END
END;

CREATE FUNCTION has_duty(c checkpoint) RETURNS boolean LANGUAGE sql STABLE
RETURN c.status IN ('taking', 'deferred')
    OR c.status IN ('accepted', 'restoring', 'restored', 'discarded') AND c.freed_at IS NULL
    OR c.status IN ('restored', 'discarded') AND c.discarded_at IS NULL;
