-- What happened to a run, one row a moment, from the moments that the rows hold anyway.
CREATE VIEW run_timeline (run_id, wait_number, at, event, detail) AS
SELECT d.run_id, d.wait_number, e.at, e.event, e.detail
  FROM dependency d
  LEFT JOIN checkpoint c ON c.dependency_id = d.id
 CROSS JOIN LATERAL (VALUES
     (d.registered_at, 'wait.registered', jsonb_build_object('reason', d.reason, 'dependency_id', d.id,
                                                             'attempt', d.attempt, 'why', d.why)),
     (d.due_at, 'checkpoint.due', jsonb_build_object('delay_ms', d.delay_ms, 'delay_from', d.delay_from)),
     (d.called_off_at, 'checkpoint.called-off', jsonb_build_object('reason', d.call_off_reason)),
     (c.claimed_at, 'checkpoint.claimed', jsonb_build_object('epoch', c.epoch, 'tries', c.tries, 'error', c.error)),
     (c.accepted_at, 'checkpoint.accepted', jsonb_build_object('location', c.location, 'phases', c.phases)),
     (c.freed_at, 'workload.freed', c.workload),
     (c.closed_at, 'checkpoint.' || c.status, jsonb_build_object('error', c.error)),
     (d.completed_at, 'dependency.completed', jsonb_build_object('outcome_type', d.outcome_type)),
     (d.resumed_at, 'dependency.resumed', jsonb_build_object('sends', d.sends)),
     (c.restored_at, 'checkpoint.restored', c.restored_workload),
     (d.cancelled_at, 'wait.cancelled', jsonb_build_object('reason', d.cancel_reason)),
     (c.discarded_at, 'image.discarded', NULL),
     (d.done_at, 'continuation.done', NULL)
 ) AS e (at, event, detail)
 WHERE d.run_id IS NOT NULL AND e.at IS NOT NULL;
