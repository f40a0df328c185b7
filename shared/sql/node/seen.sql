-- The node lives. Returns whether it is new, was silent or has other engines now: then its waits are to be looked at.
WITH before AS (
    SELECT n.engines = %(engines)s AND n.seen_at > clock() - %(silent)s AS was_here FROM node n WHERE n.name = %(name)s
)
INSERT INTO node AS n (name, engines, seen_at)
VALUES (%(name)s, %(engines)s, clock())
    ON CONFLICT (name) DO UPDATE SET engines = EXCLUDED.engines, seen_at = EXCLUDED.seen_at
RETURNING NOT coalesce((SELECT b.was_here FROM before b), false)
