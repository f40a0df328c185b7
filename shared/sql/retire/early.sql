-- What was said of waits that never came. Index: early_row.
WITH gone AS (
    DELETE FROM dependency d
     WHERE d.id = ANY (ARRAY(
        SELECT e.id
          FROM dependency e
         WHERE e.run_id IS NULL
           AND e.early_at < clock() - %(keep)s
         LIMIT %(limit)s
           FOR UPDATE OF e SKIP LOCKED))
       AND coalesce(d.run_id, '') = ''
    RETURNING d.id
), items AS (
    DELETE FROM batch_item b USING gone WHERE b.dependency_id = gone.id
)
SELECT count(*) FROM gone
