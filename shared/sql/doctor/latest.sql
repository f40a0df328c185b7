-- How long the row that is most overdue has waited to be looked at. Indexes: dependency_look_at, checkpoint_look_at.
SELECT clock() - least(
    (SELECT min(d.look_at) FROM dependency d WHERE d.look_at IS NOT NULL),
    (SELECT min(c.look_at) FROM checkpoint c WHERE c.look_at IS NOT NULL))
