-- move: accepted -> restoring
-- For a resumed wait that is not over otherwise; a claim whose lease ran out is taken over. If this worker dies, a
-- sweep looks when the lease is over, however far the gaps have grown. None: another has it,
-- it is restored, or the run is over. Index: dependency_pkey, checkpoint_dependency_id_key.
WITH wait AS (
    UPDATE dependency d
       SET look_at = least(d.look_at, clock() + %(lease)s)
     WHERE d.id = %(dependency_id)s
       AND d.run_id = %(run_id)s
       AND d.resumed_at IS NOT NULL AND d.done_at IS NULL AND d.cancelled_at IS NULL
    RETURNING d.id, d.attempt
)
UPDATE checkpoint c
   SET status = 'restoring',
       epoch = c.epoch + 1,
       restores = c.restores + 1,
       restore_claimed_at = clock(),
       lease_until = clock() + %(lease)s
  FROM wait
 WHERE c.dependency_id = wait.id
   AND (c.status = 'accepted' OR c.status = 'restoring' AND c.lease_until <= clock())
RETURNING c.id, c.dependency_id, c.run_id, wait.attempt, c.wait_number, c.workload, c.epoch, c.location, c.digest,
          c.image_bytes, c.restores, c.freed_at IS NOT NULL AS is_freed
