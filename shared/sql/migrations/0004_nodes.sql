-- The machines that take checkpoints, and the messages that nobody could take.

CREATE TABLE node (
    name text PRIMARY KEY,
    engines text[] NOT NULL,
    seen_at timestamptz NOT NULL,
    told_at timestamptz,                       -- upstreams heard of its silence; before seen_at: of an earlier one
    telling_until timestamptz                  -- a sweeper tells them now; if it dies, another does
);

CREATE FUNCTION node_is_ready(p_node text, p_engine text, s jsonb) RETURNS boolean LANGUAGE sql STABLE
RETURN EXISTS (
    SELECT FROM node n
     WHERE n.name = p_node
       AND p_engine = ANY (n.engines)
       AND n.seen_at > clock() - milliseconds((s ->> 'node_silent_ms')::bigint)
);

-- Which node brings a frozen run back: its own if that is seen, else another that can fetch the image. Null: none now.
-- Any of those will do: the claim's lease and epoch decide between two.
CREATE FUNCTION node_for_restore(c checkpoint, s jsonb) RETURNS text LANGUAGE sql VOLATILE
RETURN CASE
    WHEN node_is_ready(c.node, c.workload ->> 'engine', s) THEN c.node
    WHEN c.is_portable THEN (
        SELECT n.name FROM node n WHERE node_is_ready(n.name, c.workload ->> 'engine', s) ORDER BY random() LIMIT 1)
END;

-- Which node has the next duty of a checkpoint: the old process stands on its own, but a run that was restored
-- elsewhere is let go there. The two do not wait for each other.
CREATE FUNCTION node_of_duty(c checkpoint, s jsonb) RETURNS text LANGUAGE sql STABLE
RETURN CASE
    WHEN c.status = 'restored' AND c.discarded_at IS NULL
         AND (c.freed_at IS NOT NULL OR node_is_ready(c.restored_workload ->> 'node', c.workload ->> 'engine', s))
        THEN c.restored_workload ->> 'node'
    ELSE c.node
END;

-- Nodes on which a restore may have left something: those that claimed one of an image that others can fetch too.
CREATE TABLE left_on_node (
    node text,
    checkpoint_id bigint REFERENCES checkpoint (id) ON DELETE CASCADE,
    PRIMARY KEY (node, checkpoint_id)
);
CREATE INDEX left_by_checkpoint ON left_on_node (checkpoint_id);

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
