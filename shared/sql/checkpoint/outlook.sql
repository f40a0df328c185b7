-- How a wait's checkpoint stands, for those who watch; no row: no such wait. Index: dependency_pkey.
SELECT c.status, c.error, coalesce(c.due_at, d.due_at),
       d.completed_at IS NOT NULL OR d.cancelled_at IS NOT NULL OR d.called_off_at IS NOT NULL
  FROM dependency d
  LEFT JOIN checkpoint c ON c.dependency_id = d.id
 WHERE d.id = %(id)s
