-- A node appeared: what waited for it is looked at now. Rare, so a walk over the open rows will do.
UPDATE dependency d
   SET look_at = least(d.look_at, greatest(d.due_at, clock()))
 WHERE d.look_at > clock()
   AND d.due_at IS NOT NULL
   AND d.completed_at IS NULL
   AND d.workload ->> 'node' = %(name)s
RETURNING d.id
