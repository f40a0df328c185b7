-- What a checkpoint of a run that is over had stored is gone. None: it was gone before. Index: checkpoint_pkey.
UPDATE checkpoint c
   SET discarded_at = clock(),
       look_at = NULL
 WHERE c.id = %(id)s
   AND c.status = 'discarded'
   AND c.freed_at IS NOT NULL
   AND c.discarded_at IS NULL
RETURNING c.id
