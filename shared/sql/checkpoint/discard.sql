-- What a checkpoint had stored is gone: its run is over, or was restored. None: it was gone before.
-- Index: checkpoint_pkey.
UPDATE checkpoint c
   SET discarded_at = clock(),
       phases = coalesce(c.phases, '{}') || %(phases)s,
       look_at = NULL
 WHERE c.id = %(id)s
   AND c.status IN ('restored', 'discarded')
   AND c.freed_at IS NOT NULL
   AND c.discarded_at IS NULL
RETURNING c.id
