-- Nodes that fell silent and of which upstreams have not heard yet: this sweeper tells them until the lease is over.
-- A silence is known by the moment before it, so each is told of once. There are few nodes.
UPDATE node n
   SET telling_until = clock() + %(lease)s
 WHERE n.seen_at <= clock() - milliseconds(((SELECT settings()) ->> 'node_silent_ms')::bigint)
   AND coalesce(n.told_at <= n.seen_at, true)
   AND coalesce(n.telling_until <= clock(), true)
RETURNING n.name, n.seen_at
