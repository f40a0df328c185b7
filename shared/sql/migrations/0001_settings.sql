-- The clock and the settings that rules in SQL need.

-- One expression, so that it is inlined and an index on a moment still serves. A test session may set it.
CREATE FUNCTION clock() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(nullif(current_setting('checkpoint.clock', true), '')::timestamptz, now());

CREATE FUNCTION milliseconds(count bigint) RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN count * interval '1 millisecond';

-- Written by every process at its start, so that the SQL door judges by the same settings as the workers.
CREATE TABLE setting (
    name text PRIMARY KEY,
    value jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO setting (name, value) VALUES
    ('delay_task_ms', '30000'),
    ('delay_batch_ms', '30000'),
    ('delay_duration_ms', '0'),
    ('delay_manual_ms', '0'),
    ('delay_retry_ms', '0'),
    ('delay_min_ms', '0'),
    ('delay_max_ms', '172800000'),
    ('key_delays', '{}'),
    ('duration_threshold_ms', '30000'),
    ('retry_threshold_ms', '30000'),
    ('open_waits_per_key', '0'),
    ('countdown_horizon_ms', '60000'),
    ('take_grace_ms', '5000'),
    ('resend_first_ms', '10000'),
    ('resend_max_ms', '600000'),
    ('continuation_lease_ms', '60000'),
    ('batch_seal_ms', '1800000'),
    ('node_silent_ms', '30000');

CREATE FUNCTION settings() RETURNS jsonb LANGUAGE sql STABLE
RETURN (SELECT jsonb_object_agg(name, value) FROM setting);
