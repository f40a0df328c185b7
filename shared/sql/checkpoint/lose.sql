-- move: restoring -> lost
-- The workload's own node finds nothing that could be restored, for long enough: an image may be out of sight for a
-- while. None: not long enough, the lease was lost, or the run is over. Index: checkpoint_pkey.
UPDATE checkpoint c
   SET status = 'lost',
       lost_at = clock(),
       lease_until = NULL,
       gone_since = coalesce(c.gone_since, clock()),
       error = %(error)s,
       look_at = NULL
 WHERE c.id = %(id)s
   AND c.status = 'restoring'
   AND c.epoch = %(epoch)s
   AND c.node = %(node)s
   AND coalesce(c.gone_since, clock()) <= clock() - %(patience)s
RETURNING c.id
