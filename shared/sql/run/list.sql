-- Runs by their newest wait, the newest first; a person's question, so it may look at every wait that is kept.
-- No row: none fits. A page goes on behind the last row of the one before, by (registered_at, run_id).
SELECT run.run_id, run.attempt, run.wait_number, run.state, run.reason, run.node, run.engine, run.dependency_id,
       run.registered_at, run.due_at, run.resume_at, run.frozen_since, run.error,
       (SELECT n.seen_at FROM node n WHERE n.name = run.node) AS node_seen_at
  FROM (SELECT DISTINCT ON (d.run_id)
               d.run_id, d.attempt, d.wait_number, wait_state(d, c) AS state, d.reason,
               coalesce(c.restored_workload, d.workload) ->> 'node' AS node, d.workload ->> 'engine' AS engine,
               d.id AS dependency_id, d.registered_at, d.due_at, d.resume_at, frozen_since(c) AS frozen_since, c.error
          FROM dependency d
          LEFT JOIN checkpoint c ON c.dependency_id = d.id
         WHERE d.run_id IS NOT NULL
         ORDER BY d.run_id, d.wait_number DESC) run
 WHERE (%(states)s::text[] IS NULL OR run.state = ANY (%(states)s))
   AND (%(reason)s::text IS NULL OR run.reason = %(reason)s)
   AND (%(node)s::text IS NULL OR run.node = %(node)s)
   AND (%(older_than)s::interval IS NULL OR run.registered_at < clock() - %(older_than)s::interval)
   AND (%(before_at)s::timestamptz IS NULL OR (run.registered_at, run.run_id) < (%(before_at)s, %(before_run)s))
 ORDER BY run.registered_at DESC, run.run_id DESC
 LIMIT %(limit)s
