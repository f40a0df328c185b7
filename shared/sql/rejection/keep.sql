-- Refused messages, for a while: the raw bytes are cut at 64 KiB.
INSERT INTO rejection (queue, message, message_id, run_id, dependency_id, code, problem, facts, raw)
SELECT r.queue, r.message, r.message_id, r.run_id, r.dependency_id, r.code, r.problem, coalesce(r.facts, '{}'),
       substring(decode(r.raw, 'base64') FROM 1 FOR 65536)
  FROM jsonb_to_recordset(%(rejections)s) AS r (
       queue text, message text, message_id text, run_id text, dependency_id text, code text, problem text,
       facts jsonb, raw text)
