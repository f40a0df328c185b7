-- What became of the waits of some runs, in numbers. Index: one_wait_number, checkpoint_dependency_id_key.
SELECT count(*) AS waits,
       count(*) FILTER (WHERE d.resumed_at IS NULL AND d.checkpoint_id IS NULL) AS pending,
       count(*) FILTER (WHERE d.resumed_at IS NOT NULL AND d.due_at IS NOT NULL AND c.id IS NULL) AS called_off,
       count(*) FILTER (WHERE d.due_at IS NULL) AS not_planned,
       count(*) FILTER (WHERE d.checkpoint_id IS NOT NULL) AS frozen,
       count(*) FILTER (WHERE c.status IN ('accepted', 'restoring')) AS frozen_now,
       count(*) FILTER (WHERE c.status IN ('refused', 'revoked')) AS refused,
       count(*) FILTER (WHERE c.status = 'failed') AS failed,
       count(*) FILTER (WHERE c.status = 'restored') AS restored,
       coalesce(sum(extract(epoch FROM c.restored_at - c.freed_at)), 0)::float8 AS slot_seconds,
       coalesce(sum(c.image_bytes) FILTER (WHERE c.status = 'restored'), 0)::bigint AS image_bytes,
       coalesce(sum((c.phases ->> 'dump_bytes')::bigint) FILTER (WHERE c.status = 'restored'), 0)::bigint AS dump_bytes,
       count(*) FILTER (WHERE d.look_at IS NOT NULL
                           OR d.done_at IS NULL AND d.cancelled_at IS NULL
                           OR has_duty(c)) AS left_to_do
  FROM dependency d
  LEFT JOIN checkpoint c ON c.dependency_id = d.id
 WHERE d.run_id = ANY (%(run_ids)s)
