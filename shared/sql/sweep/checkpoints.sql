-- Checkpoints whose worker may be gone, or that have a duty left. Index: checkpoint_look_at; checkpoint_pkey and
-- dependency_pkey by look-ups, not by a join: a plan that was made on a small table would walk over the large one.
WITH due AS MATERIALIZED (
    SELECT c.id
      FROM checkpoint c
     WHERE c.look_at <= clock()
     ORDER BY c.look_at
     LIMIT %(limit)s
       FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE checkpoint c
   SET look_at = CASE
           WHEN NOT has_duty(c) THEN NULL
           WHEN c.status = 'taking'
               THEN clock() + milliseconds(((SELECT settings()) ->> 'resend_first_ms')::bigint)
           ELSE next_look(greatest(c.claimed_at, c.due_at), (SELECT settings()))
       END
 WHERE c.id = ANY (ARRAY(SELECT due.id FROM due))
RETURNING c.dependency_id AS id, c.run_id, c.wait_number, node_of_duty(c, (SELECT settings())) AS node,
          (SELECT d.attempt FROM dependency d WHERE d.id = c.dependency_id) AS attempt,
          (SELECT d.traceparent FROM dependency d WHERE d.id = c.dependency_id) AS traceparent,
          CASE WHEN has_duty(c) AND node_is_ready(node_of_duty(c, (SELECT settings())), c.workload ->> 'engine',
                                              (SELECT settings()))
               THEN 'take' ELSE 'nothing' END AS calls_for,
          interval '0' AS countdown,
          (SELECT coalesce(d.cancel_reason, d.call_off_reason) FROM dependency d
            WHERE d.id = c.dependency_id AND c.status = 'taking') AS revoked_for
