-- Waits whose run is on a silent node and nowhere else, by id, behind the last of the page before: live ones, frozen
-- ones that no other node can bring back. A node falls silent rarely, so a walk over the rows will do.
SELECT d.id, d.run_id, d.attempt, d.wait_number, d.reply_to, d.traceparent,
       coalesce(c.restored_workload, d.workload) AS workload
  FROM dependency d
  LEFT JOIN checkpoint c ON c.id = d.checkpoint_id
 WHERE d.id > %(after)s
   AND d.run_id IS NOT NULL
   AND d.done_at IS NULL
   AND d.cancelled_at IS NULL
   AND coalesce(c.restored_workload, d.workload) ->> 'node' = %(name)s
   AND c.status IS DISTINCT FROM 'lost'
   AND (c.status IS NULL OR c.status NOT IN ('accepted', 'restoring')
        OR node_for_restore(c, (SELECT settings())) IS NULL)
 ORDER BY d.id
 LIMIT %(limit)s
