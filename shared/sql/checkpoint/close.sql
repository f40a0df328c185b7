-- move: taking -> refused
-- (and -> revoked, failed; also from deferred.) The process was thawed. A revoked row closes only if Postgres says
-- that the wait is over or called off: a token alone changes no row. Index: checkpoint_pkey.
UPDATE checkpoint c
   SET status = %(status)s,
       closed_at = clock(),
       error = coalesce(%(error)s, c.error),
       look_at = NULL
  FROM dependency d
 WHERE c.id = %(id)s
   AND c.status IN ('taking', 'deferred')
   AND c.epoch = %(epoch)s
   AND d.id = c.dependency_id
   AND (%(status)s <> 'revoked'
        OR d.completed_at IS NOT NULL OR d.cancelled_at IS NOT NULL OR d.called_off_at IS NOT NULL)
RETURNING c.id
