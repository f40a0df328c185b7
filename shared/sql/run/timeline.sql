-- What happened to a run, and what is still to come. Events of one moment in the order of their waits.
-- Index: one_wait_number.
SELECT t.wait_number, t.at, t.event, t.detail
  FROM run_timeline t
 WHERE t.run_id = %(run_id)s
 ORDER BY t.at, t.wait_number
