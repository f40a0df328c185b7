-- An offer whose answer was lost is read, never guessed: an accepted image of my epoch, whatever came later.
-- Index: checkpoint_pkey, dependency_pkey.
SELECT c.id
  FROM checkpoint c
  JOIN dependency d ON d.id = c.dependency_id AND d.checkpoint_id = c.id
 WHERE c.id = %(id)s
   AND c.location = %(location)s
