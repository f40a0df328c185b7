-- The old process is gone (or stands, with `simulate`): its identity is never used again, so no epoch is needed.
-- None: it was freed before. Index: checkpoint_pkey.
UPDATE checkpoint c
   SET freed_at = clock(),
       look_at = CASE WHEN c.status IN ('restored', 'discarded') THEN c.look_at END
 WHERE c.id = %(id)s
   AND c.status IN ('accepted', 'restoring', 'restored', 'discarded')
   AND c.freed_at IS NULL
RETURNING c.id
