-- Waits to look at now, moved on to their next look; each says what it calls for. A time that is over completes
-- here, and so does a batch that was never sealed. Any number of sweepers: a row that one has is skipped by the
-- others. Index: dependency_look_at.
-- By id from an array, not by a join: a plan that was made on a small table would walk over the large one.
WITH due AS MATERIALIZED (
    SELECT d.id,
           d AS wait,
           (SELECT c.id FROM checkpoint c WHERE c.dependency_id = d.id) IS NOT NULL AS is_claimed
      FROM dependency d
     WHERE d.look_at <= clock()
     ORDER BY d.look_at
     LIMIT %(limit)s
       FOR NO KEY UPDATE OF d SKIP LOCKED
), steps AS MATERIALIZED (
    SELECT jsonb_object_agg(due.id, sweep_step(due.wait, due.is_claimed, s.s)) AS by_id,
           array_agg(due.id) AS ids
      FROM (SELECT settings() AS s OFFSET 0) s, due
)
UPDATE dependency d
   SET completed_at = CASE WHEN steps.by_id ->> d.id IN ('complete', 'seal') THEN clock() ELSE d.completed_at END,
       outcome_type = CASE steps.by_id ->> d.id WHEN 'complete' THEN 'success' WHEN 'seal' THEN 'timed_out'
                                                ELSE d.outcome_type END,
       is_sealed = d.is_sealed OR steps.by_id ->> d.id = 'seal',
       sends = d.sends + CASE WHEN steps.by_id ->> d.id = 'continue' THEN 1 ELSE 0 END,
       look_at = look_after(d, steps.by_id ->> d.id, (SELECT settings()))
  FROM steps
 WHERE d.id = ANY ((SELECT steps.ids FROM steps)::text[])
RETURNING d.id, d.run_id, d.attempt, d.wait_number, d.workload ->> 'node' AS node, d.traceparent,
          steps.by_id ->> d.id AS calls_for, greatest(d.due_at - clock(), interval '0') AS countdown
