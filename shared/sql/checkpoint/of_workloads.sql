-- Whose are these processes? Each that we ever froze, or restored and permitted, has a row.
-- Index: checkpoint_of_workload, checkpoint_of_restored.
SELECT c.run_id, c.workload
  FROM checkpoint c
 WHERE c.workload = ANY (%(workloads)s)
 UNION
SELECT c.run_id, c.restored_workload
  FROM checkpoint c
 WHERE c.restored_workload = ANY (%(workloads)s)
