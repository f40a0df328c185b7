-- Continuations that their processes have; zero rows: they were done before, or never sent. Index: dependency_pkey.
WITH locked AS MATERIALIZED (
    SELECT d.id FROM dependency d WHERE d.id = ANY (%(ids)s) ORDER BY d.id FOR NO KEY UPDATE
)
UPDATE dependency d
   SET done_at = clock(),
       look_at = NULL
 WHERE d.id = ANY ((SELECT array_agg(l.id) FROM locked l)::text[])
   AND d.resumed_at IS NOT NULL
   AND d.done_at IS NULL
RETURNING d.id
