-- Completions whose wait never came. Index: early_completion.
DELETE FROM dependency d
 WHERE d.id = ANY (ARRAY(
    SELECT e.id
      FROM dependency e
     WHERE e.run_id IS NULL
       AND e.completed_at < clock() - %(keep)s
     LIMIT %(limit)s
       FOR UPDATE OF e SKIP LOCKED))
   AND coalesce(d.run_id, '') = ''
