-- Waits that are complete and not resumed; a hint for any other changes nothing. Index: dependency_pkey
-- (coalesce keeps the planner off one_open_wait, see complete_open).
WITH locked AS MATERIALIZED (
    SELECT d.id FROM dependency d WHERE d.id = ANY (%(ids)s) ORDER BY d.id FOR NO KEY UPDATE
)
UPDATE dependency d
   SET resumed_at = clock(),
       sends = 1,
       look_at = next_look(clock(), (SELECT settings()))
 WHERE d.id = ANY ((SELECT array_agg(l.id) FROM locked l)::text[])
   AND coalesce(d.run_id, '') <> ''
   AND d.completed_at IS NOT NULL
   AND d.resumed_at IS NULL
   AND d.cancelled_at IS NULL
RETURNING d.id
