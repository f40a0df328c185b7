-- What happened to a run, one row a moment, from the moments that the rows hold anyway.
CREATE VIEW run_timeline (run_id, wait_number, at, event, detail) AS
SELECT d.run_id, d.wait_number, e.at, e.event, e.detail
  FROM dependency d
  LEFT JOIN checkpoint c ON c.dependency_id = d.id
 CROSS JOIN LATERAL (VALUES
     (d.registered_at, 'wait.registered', jsonb_build_object('reason', d.reason, 'dependency_id', d.id,
                                                             'attempt', d.attempt, 'why', d.why)),
     -- One that the wait did not live to see never was; one that is still to come stands in the future.
     (CASE WHEN d.due_at > least(d.completed_at, d.cancelled_at, d.called_off_at) THEN NULL ELSE d.due_at END,
      'checkpoint.due', jsonb_build_object('delay_ms', d.delay_ms, 'delay_from', d.delay_from)),
     (d.called_off_at, 'checkpoint.called-off', jsonb_build_object('reason', d.call_off_reason)),
     (c.asked_at, 'checkpoint.asked', jsonb_build_object('tries', c.tries)),
     (c.ready_at, 'checkpoint.ready', NULL),
     (c.claimed_at, 'checkpoint.claimed', jsonb_build_object('tries', c.tries)),
     (c.accepted_at, 'checkpoint.accepted', jsonb_build_object('location', c.location, 'phases', c.phases)),
     (c.freed_at, 'workload.freed', c.workload),
     (c.closed_at, 'checkpoint.' || c.status, jsonb_build_object('error', c.error)),
     (d.completed_at, 'dependency.completed', jsonb_build_object('outcome_type', d.outcome_type)),
     (d.resumed_at, 'dependency.resumed', jsonb_build_object('sends', d.sends)),
     (c.restore_claimed_at, 'restore.claimed', jsonb_build_object('node', c.restore_node, 'epoch', c.epoch,
                                                                  'restores', c.restores, 'error', c.error)),
     (c.restored_at, 'checkpoint.restored', c.restored_workload),
     (c.lost_at, 'checkpoint.lost', jsonb_build_object('error', c.error)),
     (d.cancelled_at, 'wait.cancelled', jsonb_build_object('reason', d.cancel_reason)),
     (c.discarded_at, 'image.discarded', NULL),
     (d.done_at, 'continuation.done', NULL)
 ) AS e (at, event, detail)
 WHERE d.run_id IS NOT NULL AND e.at IS NOT NULL;

-- What a wait is doing, in one word for people; `checkpoints runs list` explains each.
CREATE FUNCTION wait_state(d dependency, c checkpoint) RETURNS text LANGUAGE sql STABLE
RETURN CASE
    WHEN d.cancelled_at IS NOT NULL THEN 'cancelled'
    WHEN c.status = 'lost' THEN 'lost'
    WHEN d.done_at IS NOT NULL THEN 'done'
    WHEN d.resumed_at IS NOT NULL AND (d.checkpoint_id IS NULL OR c.status = 'restored') THEN 'continuing'
    WHEN d.resumed_at IS NOT NULL THEN 'restoring'
    WHEN d.completed_at IS NOT NULL THEN 'ending'
    WHEN d.checkpoint_id IS NOT NULL THEN 'frozen'
    WHEN c.status = 'taking' THEN 'taking'
    WHEN c.status = 'deferred' AND c.asked_at IS NOT NULL THEN 'asking'
    WHEN c.status = 'deferred' THEN 'retrying'
    WHEN c.status IS NULL AND d.due_at IS NOT NULL AND d.called_off_at IS NULL THEN 'deferred'
    ELSE 'waiting'
END;

-- Since when we keep a run still: being frozen, or frozen. Null: it runs, as far as we know.
CREATE FUNCTION frozen_since(c checkpoint) RETURNS timestamptz LANGUAGE sql STABLE
RETURN CASE
    WHEN c.status = 'taking' THEN c.claimed_at
    WHEN c.status IN ('accepted', 'restoring') THEN c.accepted_at
END;

-- For a platform that takes runs without a heartbeat for crashed. One row a run, of its newest wait: while we keep it
-- still it cannot send any, and a node that is seen and can bring it back answers for it.
CREATE VIEW run_heartbeat (run_id, attempt, wait_number, state, frozen_since, node, node_seen_at, is_answered_for) AS
SELECT DISTINCT ON (d.run_id)
       d.run_id, d.attempt, d.wait_number, wait_state(d, c), frozen_since(c), n.name, n.seen_at,
       frozen_since(c) IS NOT NULL AND node_for_restore(c, (SELECT settings())) IS NOT NULL
  FROM dependency d
  LEFT JOIN checkpoint c ON c.dependency_id = d.id
  LEFT JOIN node n ON n.name = coalesce(c.restored_workload, d.workload) ->> 'node'
 WHERE d.run_id IS NOT NULL
 ORDER BY d.run_id, d.wait_number DESC;
