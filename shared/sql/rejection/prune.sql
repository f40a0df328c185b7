-- Only the newest are kept. Index: rejection_pkey.
DELETE FROM rejection r
 WHERE r.id <= (SELECT max(k.id) FROM rejection k) - %(keep)s
