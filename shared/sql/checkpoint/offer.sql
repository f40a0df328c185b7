-- move: taking -> accepted
-- Of this and the resume, two conditional updates of one dependency row, exactly one comes first. None: the wait
-- ended, or the claim is another's; the caller rolls back, so both rows change or none. Index: dependency_pkey.
WITH wait AS (
    UPDATE dependency d
       SET checkpoint_id = %(id)s
     WHERE d.id = %(dependency_id)s
       AND d.completed_at IS NULL AND d.resumed_at IS NULL
       AND d.cancelled_at IS NULL AND d.called_off_at IS NULL
    RETURNING d.id
)
UPDATE checkpoint c
   SET status = 'accepted',
       accepted_at = clock(),
       location = %(location)s,
       digest = %(digest)s,
       image_bytes = %(image_bytes)s,
       is_portable = %(is_portable)s,
       phases = %(phases)s,
       error = NULL,
       look_at = clock() + %(grace)s
  FROM wait
 WHERE c.id = %(id)s
   AND c.dependency_id = wait.id
   AND c.status = 'taking'
   AND c.epoch = %(epoch)s
RETURNING c.id
