-- How long each statement of this transaction waits for another's lock. One row. No index.
SELECT set_config('lock_timeout', %(limit)s, true)
