-- move: deferred -> taking
-- The first claim of a wait makes the row; a later one takes over what a dead worker left (the node lock is held:
-- nobody works on it). A wait with a handshake is claimed only once its run has answered. None: not due, not ready,
-- over, or nothing to take; `state` tells which. Dependency first, then checkpoint, always.
-- Index: dependency_pkey, checkpoint_dependency_id_key.
WITH wait AS MATERIALIZED (
    SELECT d.id, d.run_id, d.attempt, d.wait_number, d.workload, d.due_at
      FROM dependency d
     WHERE d.id = %(id)s
       AND d.run_id = %(run_id)s
       AND d.workload ->> 'node' = %(node)s
       AND d.due_at <= clock()
       AND d.completed_at IS NULL AND d.resumed_at IS NULL
       AND d.cancelled_at IS NULL AND d.called_off_at IS NULL
       AND (d.handshake IS NOT TRUE
            OR (SELECT c.ready_at FROM checkpoint c WHERE c.dependency_id = d.id) IS NOT NULL)
       FOR NO KEY UPDATE
)
INSERT INTO checkpoint AS c
       (dependency_id, run_id, wait_number, node, workload, status, epoch, tries, claimed_at, due_at, look_at)
SELECT w.id, w.run_id, w.wait_number, w.workload ->> 'node', w.workload, 'taking', 1, 0, clock(), w.due_at,
       clock() + %(grace)s
  FROM wait w
    ON CONFLICT (dependency_id) DO UPDATE
   SET status = 'taking',
       epoch = c.epoch + 1,
       claimed_at = clock(),
       look_at = clock() + %(grace)s
 WHERE c.status IN ('deferred', 'taking')
   AND c.due_at <= clock()
RETURNING c.id, c.dependency_id, c.run_id, (SELECT w.attempt FROM wait w) AS attempt, c.wait_number, c.workload,
          c.epoch, c.tries
