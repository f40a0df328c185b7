-- Where a refusal goes whose message named no queue of its own: the wait found by dependency, else by run.
SELECT d.reply_to
  FROM dependency d
 WHERE d.reply_to IS NOT NULL
   AND (d.id = %(dependency_id)s OR d.run_id = %(run_id)s)
 ORDER BY d.id = %(dependency_id)s DESC, d.wait_number DESC
 LIMIT 1
