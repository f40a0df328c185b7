-- The settings that rules in SQL need, as this process has them.
INSERT INTO setting AS s (name, value)
SELECT e.key, e.value FROM jsonb_each(%(settings)s) e
    ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value, changed_at = now()
 WHERE s.value IS DISTINCT FROM EXCLUDED.value
