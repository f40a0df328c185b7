-- A node appeared: the duties of its checkpoints are looked at now, not when their grown gaps are over.
UPDATE checkpoint c
   SET look_at = clock()
 WHERE c.look_at > clock()
   AND c.node = %(name)s
   AND c.status <> 'taking'
RETURNING c.id
