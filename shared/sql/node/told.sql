-- Upstreams heard of a silence. None: the node was seen meanwhile.
UPDATE node n
   SET told_at = clock()
 WHERE n.name = %(name)s
   AND n.seen_at = %(seen_at)s
RETURNING n.name
