-- The SQL door, in the caller's own transaction; a sweeper sends what follows.
SELECT defer_checkpoint_many(%(messages)s)::text
