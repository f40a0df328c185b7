-- move: taking -> deferred
-- The process was thawed. None: the claim is another's, or a cancel closed the row. Index: checkpoint_pkey.
UPDATE checkpoint c
   SET status = 'deferred',
       tries = c.tries + %(failed)s,
       due_at = clock() + %(delay)s,
       error = %(error)s,
       look_at = clock() + %(delay)s + %(grace)s
 WHERE c.id = %(id)s
   AND c.status = 'taking'
   AND c.epoch = %(epoch)s
RETURNING c.id
