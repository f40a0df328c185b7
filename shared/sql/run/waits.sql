-- All that is kept of a run's waits, the oldest first. No row: the run is not known. Index: one_wait_number.
SELECT d.run_id, d.attempt, d.wait_number, wait_state(d, c) AS state, d.reason, d.id AS dependency_id, d.key,
       coalesce(c.restored_workload, d.workload) AS workload, d.registered_at, d.delay_ms, d.delay_from, d.why,
       d.due_at, d.resume_at, d.open_items, d.outcome_type, d.reply_to, d.sends, c.id AS checkpoint_id,
       c.status AS checkpoint_status, c.epoch, c.tries, c.location, c.image_bytes, c.phases, c.error,
       frozen_since(c) AS frozen_since,
       (SELECT n.seen_at FROM node n WHERE n.name = coalesce(c.restored_workload, d.workload) ->> 'node') AS node_seen_at,
       coalesce(d.cancel_reason, d.call_off_reason) AS called_off_for
  FROM dependency d
  LEFT JOIN checkpoint c ON c.dependency_id = d.id
 WHERE d.run_id = %(run_id)s
 ORDER BY d.wait_number
