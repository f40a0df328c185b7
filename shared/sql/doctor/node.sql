-- How long ago a node was seen, and what it offers. No row: never.
SELECT clock() - n.seen_at AS silent_for, n.engines
  FROM node n
 WHERE n.name = %(name)s
