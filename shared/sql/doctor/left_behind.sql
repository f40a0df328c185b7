-- What runs that went on, or are over, have left for longer than a worker takes to remove it, counted by why it is
-- still there. Index: checkpoint_look_at, since each of these is to be looked at; left_on_node is small.
WITH s (s) AS (SELECT settings()), behind AS (
    SELECT CASE
               WHEN NOT node_is_ready(node_of_duty(c, s.s), c.workload ->> 'engine', s.s) THEN 'its node is silent'
               WHEN c.freed_at IS NULL THEN 'the old process has not ended'
               ELSE 'the image could not be removed'
           END AS why
      FROM s, checkpoint c JOIN dependency d ON d.id = c.dependency_id
     WHERE c.look_at IS NOT NULL
       AND c.status IN ('restored', 'discarded')
       AND has_duty(c)
       AND coalesce(c.restored_at, d.cancelled_at) < clock() - %(patience)s
    UNION ALL
    SELECT 'a silent node may hold what it restored in vain'
      FROM s, left_on_node l JOIN checkpoint c ON c.id = l.checkpoint_id
     WHERE c.status IN ('restored', 'discarded')
       AND NOT node_is_ready(l.node, c.workload ->> 'engine', s.s)
)
SELECT why, count(*) FROM behind GROUP BY why ORDER BY why
