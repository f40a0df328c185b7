-- The handshake: a run whose checkpoint is due is asked whether it may be frozen, before each try. The row waits as
-- `deferred` until the run answers, or until its time to answer is over. None: not due, over, asked before, or not to
-- be asked; `state` tells which. Dependency first, then checkpoint. Index: dependency_pkey, checkpoint_dependency_id_key.
WITH wait AS MATERIALIZED (
    SELECT d.id, d.run_id, d.wait_number, d.workload
      FROM dependency d
     WHERE d.id = %(id)s
       AND d.run_id = %(run_id)s
       AND d.workload ->> 'node' = %(node)s
       AND d.handshake
       AND d.due_at <= clock()
       AND d.completed_at IS NULL AND d.resumed_at IS NULL
       AND d.cancelled_at IS NULL AND d.called_off_at IS NULL
       FOR NO KEY UPDATE
)
INSERT INTO checkpoint AS c
       (dependency_id, run_id, wait_number, node, workload, status, epoch, tries, due_at, asked_at, look_at)
SELECT w.id, w.run_id, w.wait_number, w.workload ->> 'node', w.workload, 'deferred', 0, 0, clock() + %(patience)s,
       clock(), clock() + %(patience)s + %(grace)s
  FROM wait w
    ON CONFLICT (dependency_id) DO UPDATE
   SET due_at = clock() + %(patience)s,
       asked_at = clock(),
       look_at = clock() + %(patience)s + %(grace)s
 WHERE c.status = 'deferred'
   AND c.asked_at IS NULL
   AND c.due_at <= clock()
RETURNING c.id
