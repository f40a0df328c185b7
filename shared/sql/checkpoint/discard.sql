-- What a checkpoint had stored is gone: its run is over, or was restored. None: it was gone before. The old process
-- of a run that was restored elsewhere may still stand.
-- Index: checkpoint_pkey.
UPDATE checkpoint c
   SET discarded_at = clock(),
       phases = coalesce(c.phases, '{}') || %(phases)s,
       look_at = CASE WHEN c.freed_at IS NULL THEN c.look_at END
 WHERE c.id = %(id)s
   AND c.status IN ('restored', 'discarded')
   AND (c.freed_at IS NOT NULL OR c.restored_workload ->> 'node' <> c.node)
   AND c.discarded_at IS NULL
RETURNING c.id
