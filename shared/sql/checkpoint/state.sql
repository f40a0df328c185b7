-- What a take finds that could not claim, read in the claim's own transaction. Index: dependency_pkey.
SELECT d.id AS dependency_id, d.run_id, d.attempt, d.wait_number, d.workload, d.reply_to,
       d.completed_at IS NOT NULL OR d.cancelled_at IS NOT NULL OR d.called_off_at IS NOT NULL AS is_over,
       greatest(coalesce(c.due_at, d.due_at) - clock(), interval '0') AS rest,
       CASE WHEN c.status = 'deferred' AND c.asked_at IS NOT NULL AND c.ready_at IS NULL THEN c.due_at END AS answer_by,
       c.id, c.status, c.epoch, c.freed_at IS NOT NULL AS is_freed, c.discarded_at IS NOT NULL AS is_discarded,
       c.restored_workload
  FROM dependency d
  LEFT JOIN checkpoint c ON c.dependency_id = d.id
 WHERE d.id = %(id)s
   AND d.run_id = %(run_id)s
   AND %(node)s IN (d.workload ->> 'node', c.restored_workload ->> 'node')
