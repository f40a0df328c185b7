-- As `close`, deferred -> failed, of a row that nobody claimed: its run was asked and did not say in time that it may
-- be frozen. No checkpoint, and the run lives. None: it answered just before, there is time left, or the row is closed.
-- Index: checkpoint_pkey.
UPDATE checkpoint c
   SET status = 'failed',
       closed_at = clock(),
       error = %(error)s,
       look_at = NULL
 WHERE c.id = %(id)s
   AND c.status = 'deferred'
   AND c.asked_at IS NOT NULL AND c.ready_at IS NULL
   AND c.due_at <= clock()
RETURNING c.id
