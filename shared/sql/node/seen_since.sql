-- What a node offers whose agent wrote its row within the last seconds, by this clock. Index: node_pkey.
SELECT engines
  FROM node
 WHERE name = %(name)s
   AND seen_at > now() - make_interval(secs => %(seconds)s)
