-- Open waits whose run a silent node has, and no other could bring back, by run behind the last of the page before.
-- Those that are resumed are sent what they call for anyway. Index: one_open_wait, which is walked over: a node falls
-- silent rarely.
SELECT d.id, d.run_id, d.attempt, d.wait_number, d.reply_to, d.traceparent, d.workload
  FROM dependency d
 WHERE d.run_id > %(after)s
   AND d.resumed_at IS NULL
   AND d.cancelled_at IS NULL
   AND d.workload ->> 'node' = %(name)s
   AND (d.checkpoint_id IS NULL
        OR (SELECT node_for_restore(c, (SELECT settings())) FROM checkpoint c WHERE c.id = d.checkpoint_id) IS NULL)
 ORDER BY d.run_id
 LIMIT %(limit)s
