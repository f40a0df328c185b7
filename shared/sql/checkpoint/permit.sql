-- move: restoring -> restored
-- The permission to run. Its image is to be removed then, by a sweep's take if this worker dies.
-- None: see `is_permitted`. Index: checkpoint_pkey.
UPDATE checkpoint c
   SET status = 'restored',
       restored_at = clock(),
       restored_workload = %(workload)s,
       phases = coalesce(c.phases, '{}') || %(phases)s,
       lease_until = NULL,
       look_at = clock() + %(grace)s
 WHERE c.id = %(id)s
   AND c.status = 'restoring'
   AND c.epoch = %(epoch)s
RETURNING c.id
