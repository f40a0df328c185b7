-- Waits to look at now, moved on to their next look; each says what it calls for. A time that is over completes
-- here, and a batch that was never sealed. Any number of sweepers: a row that one has is skipped by the others. Index: dependency_look_at.
WITH due AS MATERIALIZED (
    SELECT d.id,
           d AS wait,
           settings() AS s,
           EXISTS (SELECT FROM checkpoint c WHERE c.dependency_id = d.id) AS is_claimed
      FROM dependency d
     WHERE d.look_at <= clock()
     ORDER BY d.look_at
     LIMIT %(limit)s
       FOR NO KEY UPDATE OF d SKIP LOCKED
), step AS MATERIALIZED (
    SELECT due.id, due.s, sweep_step(due.wait, due.is_claimed, due.s) AS calls_for FROM due
)
UPDATE dependency d
   SET completed_at = CASE WHEN step.calls_for IN ('complete', 'seal') THEN clock() ELSE d.completed_at END,
       outcome_type = CASE step.calls_for WHEN 'complete' THEN 'success' WHEN 'seal' THEN 'timed_out'
                                          ELSE d.outcome_type END,
       is_sealed = d.is_sealed OR step.calls_for = 'seal',
       sends = d.sends + CASE WHEN step.calls_for = 'continue' THEN 1 ELSE 0 END,
       look_at = look_after(d, step.calls_for, step.s)
  FROM step
 WHERE d.id = step.id
RETURNING d.id, d.run_id, d.attempt, d.wait_number, d.workload ->> 'node' AS node, d.traceparent, step.calls_for,
          greatest(d.due_at - clock(), interval '0') AS countdown
