-- Whose are these processes? Each that we ever froze has a row. Index: checkpoint_of_workload.
SELECT DISTINCT c.run_id, c.workload
  FROM checkpoint c
 WHERE c.workload = ANY (%(workloads)s)
