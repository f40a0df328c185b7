-- Checkpoints whose worker may be gone, or that have a duty left. Index: checkpoint_look_at.
WITH due AS MATERIALIZED (
    SELECT c.id, settings() AS s
      FROM checkpoint c
     WHERE c.look_at <= clock()
     ORDER BY c.look_at
     LIMIT %(limit)s
       FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE checkpoint c
   SET look_at = CASE
           WHEN NOT has_duty(c) THEN NULL
           WHEN c.status = 'taking' THEN clock() + milliseconds((due.s ->> 'resend_first_ms')::bigint)
           ELSE next_look(greatest(c.claimed_at, c.due_at), due.s)
       END
  FROM due, dependency d
 WHERE c.id = due.id
   AND d.id = c.dependency_id
RETURNING c.dependency_id AS id, c.run_id, d.attempt, c.wait_number, c.node, d.traceparent,
          CASE WHEN has_duty(c) AND node_is_ready(c.node, c.workload ->> 'engine', due.s)
               THEN 'take' ELSE 'nothing' END AS calls_for,
          interval '0' AS countdown
