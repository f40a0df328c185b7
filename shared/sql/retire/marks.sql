-- What was said of runs that nobody speaks of any more. Index: run_mark_raised_at.
DELETE FROM run_mark m
 WHERE m.run_id = ANY (ARRAY(
    SELECT k.run_id
      FROM run_mark k
     WHERE k.raised_at < clock() - %(keep)s
     LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED))
