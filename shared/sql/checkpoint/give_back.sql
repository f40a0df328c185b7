-- move: restoring -> accepted
-- The restore failed, and another try comes after the gap. None: the lease was lost, or the run is over.
UPDATE checkpoint c
   SET status = 'accepted',
       lease_until = NULL,
       gone_since = CASE WHEN %(is_gone)s THEN coalesce(c.gone_since, clock()) END,
       error = %(error)s
 WHERE c.id = %(id)s
   AND c.status = 'restoring'
   AND c.epoch = %(epoch)s
RETURNING c.id
