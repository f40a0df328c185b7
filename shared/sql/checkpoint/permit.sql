-- move: restoring -> restored
-- The permission to run. None: see `is_permitted`. Index: checkpoint_pkey.
UPDATE checkpoint c
   SET status = 'restored',
       restored_at = clock(),
       restored_workload = %(workload)s,
       lease_until = NULL
 WHERE c.id = %(id)s
   AND c.status = 'restoring'
   AND c.epoch = %(epoch)s
RETURNING c.id
