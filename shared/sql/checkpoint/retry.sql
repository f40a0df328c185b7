-- move: taking -> deferred
-- The process was thawed. It may run on until the next try, so what it said before this one no longer holds: a
-- handshake begins anew. None: the claim is another's, or a cancel closed the row. Index: checkpoint_pkey.
UPDATE checkpoint c
   SET status = 'deferred',
       tries = c.tries + %(failed)s,
       due_at = clock() + %(delay)s,
       asked_at = NULL,
       ready_at = NULL,
       error = %(error)s,
       look_at = clock() + %(delay)s + %(grace)s
 WHERE c.id = %(id)s
   AND c.status = 'taking'
   AND c.epoch = %(epoch)s
RETURNING c.id
