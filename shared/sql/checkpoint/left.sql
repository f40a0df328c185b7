-- What restores may have left on a node, of checkpoints that nobody will restore any more. Index: left_on_node_pkey.
SELECT c.id, c.run_id, c.workload, c.epoch, c.restored_workload
  FROM left_on_node l
  JOIN checkpoint c ON c.id = l.checkpoint_id
 WHERE l.node = %(node)s
   AND (c.status = 'lost' OR c.status IN ('restored', 'discarded') AND c.discarded_at IS NOT NULL)
 LIMIT %(limit)s
