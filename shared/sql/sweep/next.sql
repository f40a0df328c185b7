-- Seconds until something has to be looked at; null: nothing. Two index look-ups.
SELECT extract(epoch FROM least(
    (SELECT min(d.look_at) FROM dependency d WHERE d.look_at IS NOT NULL),
    (SELECT min(c.look_at) FROM checkpoint c WHERE c.look_at IS NOT NULL)) - clock())::float8
