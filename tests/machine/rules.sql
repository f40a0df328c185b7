-- The design's rules that rows can show: each as the waits that break it. Source: the design, section 4.
WITH open_wait AS (
    SELECT d.* FROM dependency d
     WHERE d.run_id IS NOT NULL AND d.resumed_at IS NULL AND d.cancelled_at IS NULL
)
SELECT 'a run has at most one open wait' AS rule, min(d.id) AS id
  FROM open_wait d
 GROUP BY d.run_id HAVING count(*) > 1
UNION ALL
SELECT 'only what is over is resumed', d.id
  FROM dependency d
 WHERE d.resumed_at IS NOT NULL AND d.completed_at IS NULL OR d.resumed_at < d.completed_at
UNION ALL
SELECT 'only what was resumed is done', d.id
  FROM dependency d
 WHERE d.done_at IS NOT NULL AND d.resumed_at IS NULL OR d.done_at < d.resumed_at
UNION ALL
SELECT 'what is done is not cancelled', d.id
  FROM dependency d
 WHERE d.cancelled_at > d.done_at
UNION ALL
SELECT 'an accepted checkpoint was accepted while its wait was open', d.id
  FROM dependency d JOIN checkpoint c ON c.id = d.checkpoint_id
 WHERE d.completed_at < c.accepted_at OR d.resumed_at < c.accepted_at OR d.cancelled_at < c.accepted_at
    OR d.called_off_at IS NOT NULL OR c.dependency_id <> d.id
UNION ALL
SELECT 'a checkpoint is accepted where its wait says so, and nowhere else', d.id
  FROM checkpoint c JOIN dependency d ON d.id = c.dependency_id
 WHERE (c.status IN ('accepted', 'restoring', 'restored', 'discarded')) <> (d.checkpoint_id IS NOT DISTINCT FROM c.id)
UNION ALL
SELECT 'only a wait that was resumed is restored', d.id
  FROM checkpoint c JOIN dependency d ON d.id = c.dependency_id
 WHERE c.status IN ('restoring', 'restored') AND d.resumed_at IS NULL
UNION ALL
SELECT 'only a run that is over is discarded, and each that is frozen then', d.id
  FROM checkpoint c JOIN dependency d ON d.id = c.dependency_id
 WHERE c.status = 'discarded' AND d.cancelled_at IS NULL
    OR c.status IN ('accepted', 'restoring') AND d.cancelled_at IS NOT NULL
UNION ALL
SELECT 'a continuation that is due is looked at', d.id
  FROM dependency d
 WHERE d.run_id IS NOT NULL AND d.completed_at IS NOT NULL AND d.done_at IS NULL AND d.cancelled_at IS NULL
   AND d.look_at IS NULL
UNION ALL
SELECT 'a wait that ends by itself is looked at', d.id
  FROM open_wait d
 WHERE d.look_at IS NULL AND (d.resume_at IS NOT NULL OR NOT d.is_sealed)
UNION ALL
SELECT 'a wait that ends by itself is looked at in time', d.id
  FROM open_wait d
 WHERE d.completed_at IS NULL AND d.resume_at IS NOT NULL
   AND d.look_at > greatest(d.resume_at, clock() + interval '1 second')
UNION ALL
SELECT 'a checkpoint that will be taken is looked at', d.id
  FROM open_wait d
 WHERE d.due_at IS NOT NULL AND d.called_off_at IS NULL AND d.look_at IS NULL
   AND NOT EXISTS (SELECT FROM checkpoint c WHERE c.dependency_id = d.id)
UNION ALL
SELECT 'a duty is looked at', c.dependency_id
  FROM checkpoint c
 WHERE has_duty(c) AND c.look_at IS NULL
UNION ALL
SELECT 'a wait without a time ends with its checkpoint', d.id
  FROM open_wait d LEFT JOIN checkpoint c ON c.dependency_id = d.id
 WHERE d.reason = 'MANUAL' AND d.resume_at IS NULL AND d.completed_at IS NULL
   AND (d.due_at IS NULL OR c.status NOT IN ('taking', 'deferred'))
UNION ALL
SELECT 'a run that wants to be asked is frozen only once it has answered', d.id
  FROM checkpoint c JOIN dependency d ON d.id = c.dependency_id
 WHERE d.handshake AND c.epoch > 0 AND c.ready_at IS NULL AND c.status NOT IN ('deferred', 'revoked', 'refused', 'failed')
UNION ALL
SELECT 'a batch is over when it is sealed and nothing is open', d.id
  FROM open_wait d
 WHERE d.is_sealed AND d.open_items = 0 AND d.completed_at IS NULL
UNION ALL
SELECT 'a batch counts what is open', d.id
  FROM dependency d
 WHERE d.open_items <> (SELECT count(*) FROM batch_item b
                         WHERE b.dependency_id = d.id AND b.is_member AND b.completed_at IS NULL)
UNION ALL
SELECT 'what is over has nothing left to look at', d.id
  FROM dependency d
 WHERE d.look_at IS NOT NULL AND (d.done_at IS NOT NULL OR d.cancelled_at IS NOT NULL)
UNION ALL
SELECT 'what is said of a run is obeyed', d.id
  FROM open_wait d JOIN run_mark k USING (run_id)
 WHERE k.run_over OR d.wait_number <= k.waits_over_up_to OR d.attempt <= k.attempt_over
