-- A MANUAL wait without a time ends when its checkpoint is accepted, closed or first put back.
UPDATE dependency d
   SET resume_at = clock(),
       look_at = clock()
 WHERE d.id = %(id)s
   AND d.reason = 'MANUAL'
   AND d.resume_at IS NULL
   AND d.completed_at IS NULL
   AND d.cancelled_at IS NULL
RETURNING d.id
