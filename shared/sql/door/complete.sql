-- The SQL door, in the caller's own transaction; a sweeper sends what follows.
SELECT complete_dependency_many(%(messages)s)::text
