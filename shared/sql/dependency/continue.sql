-- What the resumed waits among these call for: a statement after the update that resumed them, so that a
-- checkpoint that was accepted just before is seen. Index: dependency_pkey.
SELECT d.id, d.run_id, d.attempt, d.wait_number, d.reason, d.workload, d.reply_to, d.traceparent, d.resume_at,
       d.outcome, d.outcome_type, d.open_items IS NOT NULL AS is_batch,
       CASE WHEN d.open_items IS NOT NULL
            THEN (SELECT b.outcomes FROM batch_outcomes(d.id) AS b (outcomes)
                   WHERE octet_length(b.outcomes::text) <= %(bytes_max)s) END AS batch_outcomes,
       d.resumed_at, d.due_at IS NOT NULL AS is_planned, d.checkpoint_id,
       c.status AS checkpoint_status, c.restored_workload, c.location, c.digest, c.image_bytes, c.epoch,
       CASE WHEN c.status IN ('accepted', 'restoring')
            THEN node_for_restore(c, (SELECT settings())) END AS restore_node,
       (SELECT n.seen_at FROM node n WHERE n.name = c.node) AS node_seen_at, c.lost_at, c.error
  FROM dependency d
  LEFT JOIN checkpoint c ON c.id = d.checkpoint_id
 WHERE d.id = ANY (%(ids)s)
   AND d.resumed_at IS NOT NULL
   AND d.done_at IS NULL
   AND d.cancelled_at IS NULL
