-- A node appeared or fell silent: what its frozen runs call for is looked at now, and so are those of others that it
-- may bring back. Rare, so a walk over the open rows will do; checkpoints by look-ups, not by a join: a plan that was
-- made on a small table would walk over the large one.
UPDATE dependency d
   SET look_at = clock()
 WHERE d.look_at > clock()
   AND d.resumed_at IS NOT NULL
   AND d.checkpoint_id IS NOT NULL
   AND (SELECT c.status IN ('accepted', 'restoring')
               AND (c.node = %(name)s OR c.is_portable)
               AND coalesce(c.lease_until <= clock(), true)
          FROM checkpoint c
         WHERE c.id = d.checkpoint_id)
RETURNING d.id
