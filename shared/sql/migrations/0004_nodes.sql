-- The machines that take checkpoints, and the messages that nobody could take.

CREATE TABLE node (
    name text PRIMARY KEY,
    engines text[] NOT NULL,
    seen_at timestamptz NOT NULL
);

CREATE FUNCTION node_is_ready(p_node text, p_engine text, s jsonb) RETURNS boolean LANGUAGE sql STABLE
RETURN EXISTS (
    SELECT FROM node n
     WHERE n.name = p_node
       AND p_engine = ANY (n.engines)
       AND n.seen_at > clock() - milliseconds((s ->> 'node_silent_ms')::bigint)
);

CREATE TABLE rejection (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rejected_at timestamptz NOT NULL DEFAULT now(),
    queue text NOT NULL,
    message text,                              -- the task's name
    message_id text,
    run_id text,
    dependency_id text,
    code text NOT NULL,
    problem text NOT NULL,
    facts jsonb NOT NULL DEFAULT '{}',
    raw bytea NOT NULL                         -- the first 64 KiB as they came
);

-- When to look again at what began at a moment: the gap is the age, so it doubles; a tenth of jitter.
CREATE FUNCTION next_look(since timestamptz, s jsonb) RETURNS timestamptz LANGUAGE sql VOLATILE
RETURN clock() + (1 + random() / 10) * greatest(
    milliseconds((s ->> 'resend_first_ms')::bigint),
    least(milliseconds((s ->> 'resend_max_ms')::bigint), clock() - since));
