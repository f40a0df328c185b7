-- Waits that are done or cancelled for long, and whose checkpoint has no duty left. Index: dependency_registered_at.
WITH gone AS (
    DELETE FROM dependency d
     WHERE d.id = ANY (ARRAY(
        SELECT f.id
          FROM dependency f
         WHERE f.registered_at < clock() - %(keep)s
           AND (f.done_at < clock() - %(keep)s OR f.cancelled_at < clock() - %(keep)s)
           AND NOT EXISTS (SELECT FROM checkpoint c WHERE c.dependency_id = f.id AND has_duty(c))
         LIMIT %(limit)s
           FOR UPDATE OF f SKIP LOCKED))
    RETURNING d.id
), items AS (
    DELETE FROM batch_item b USING gone WHERE b.dependency_id = gone.id
)
SELECT count(*) FROM gone
