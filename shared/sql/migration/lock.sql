-- One migrator at a time; released when its connection ends.
SELECT pg_advisory_lock(17225, 0)
