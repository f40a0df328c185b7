-- move: accepted -> restoring
-- On its own node, or any that can fetch the image. For a resumed wait that is not over otherwise; a claim whose
-- lease ran out is taken over. If this worker dies, a sweep looks when the lease is over, however far the gaps have
-- grown. None: another has it, it is restored, or the run is over. Index: dependency_pkey, checkpoint_dependency_id_key.
WITH wait AS (
    UPDATE dependency d
       SET look_at = least(d.look_at, clock() + %(lease)s)
     WHERE d.id = %(dependency_id)s
       AND d.run_id = %(run_id)s
       AND d.resumed_at IS NOT NULL AND d.done_at IS NULL AND d.cancelled_at IS NULL
    RETURNING d.id, d.attempt
), left_behind AS (
    -- Perhaps in vain, if the claim comes too late: it says what may be left.
    INSERT INTO left_on_node (node, checkpoint_id)
    SELECT %(node)s, p.id FROM wait JOIN checkpoint p ON p.dependency_id = wait.id WHERE p.is_portable
        ON CONFLICT DO NOTHING
)
UPDATE checkpoint c
   SET status = 'restoring',
       epoch = c.epoch + 1,
       restores = c.restores + 1,
       restore_claimed_at = clock(),
       restore_node = %(node)s,
       lease_until = clock() + %(lease)s
  FROM wait
 WHERE c.dependency_id = wait.id
   AND (c.node = %(node)s OR c.is_portable)
   AND (c.status = 'accepted' OR c.status = 'restoring' AND c.lease_until <= clock())
RETURNING c.id, c.dependency_id, c.run_id, wait.attempt, c.wait_number, c.workload, c.epoch, c.location, c.digest,
          c.image_bytes, c.is_portable, c.restores, c.freed_at IS NOT NULL AS is_freed
