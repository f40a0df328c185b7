-- Completions whose wait never came. Index: early_completion.
DELETE FROM dependency d
 WHERE d.id IN (
    SELECT e.id
      FROM dependency e
     WHERE e.run_id IS NULL
       AND e.completed_at < clock() - %(keep)s
     LIMIT %(limit)s
       FOR UPDATE OF e SKIP LOCKED)
   AND d.run_id IS NULL
