-- A node appeared or fell silent: frozen runs that it or another can bring back now are looked at now.
-- Rare, so a walk over the open rows will do.
UPDATE dependency d
   SET look_at = clock()
  FROM checkpoint c
 WHERE d.look_at > clock()
   AND d.resumed_at IS NOT NULL
   AND c.id = d.checkpoint_id
   AND c.status IN ('accepted', 'restoring')
   AND (c.node = %(name)s OR c.is_portable)
   AND node_for_restore(c, (SELECT settings())) IS NOT NULL
   AND coalesce(c.lease_until, clock()) <= clock()
RETURNING d.id
