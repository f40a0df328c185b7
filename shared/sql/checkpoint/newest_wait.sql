-- What Postgres says of the newest wait of a workload: it alone decides what becomes of a standing process.
-- Index: one_wait_number.
SELECT d.checkpoint_id IS NOT NULL AS is_frozen,
       d.cancelled_at IS NOT NULL OR c.status = 'restored' AS is_let_go,
       c.location
  FROM dependency d
  LEFT JOIN checkpoint c ON c.id = d.checkpoint_id
 WHERE d.run_id = %(run_id)s
   AND d.workload = %(workload)s
 ORDER BY d.wait_number DESC
 LIMIT 1
