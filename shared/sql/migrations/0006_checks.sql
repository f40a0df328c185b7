-- What a message must look like: each check is null, or the refusal. Used by the SQL door; the message door
-- checks the same by the types of shared/messages.py, and a test holds both to one table of bad inputs.

-- Null where the field is missing or null: both say the same.
CREATE FUNCTION field(m jsonb, name text) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN nullif(m -> name, 'null');

-- A name of '' is the message itself.
CREATE FUNCTION bad_field(name text, got jsonb, expected text) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN refusal('invalid-message',
               format('%s is %s; expected %s. Correct the message and send it again.',
                      coalesce(nullif(name, ''), 'the message'), coalesce(left(got::text, 80), 'missing'), expected),
               jsonb_build_object('field', name, 'expected', expected));

CREATE FUNCTION check_object(name text, m jsonb, known text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN m IS NULL OR jsonb_typeof(m) <> 'object' THEN bad_field(name, m, 'an object')
    WHEN m - known <> '{}' THEN (
        SELECT refusal('unknown-field',
                       format('%s is an unknown field; expected only %s. Leave it out.',
                              u.field, array_to_string(known, ', ')),
                       jsonb_build_object('field', u.field))
          FROM (SELECT concat_ws('.', nullif(name, ''), left(min(k), 80)) AS field
                  FROM jsonb_object_keys(m - known) k) u)
END;

-- A message has no more than 1 MiB; its text is only made of what may be larger.
CREATE FUNCTION check_size(m jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE WHEN pg_column_size(m) > 524288 AND octet_length(m::text) > 1048576
            THEN refusal('too-large', format('the message is %s bytes; expected at most 1048576. '
                                             'Send a reference instead.', octet_length(m::text)),
                         '{"field": ""}') END;

CREATE FUNCTION check_version(m jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE WHEN m ->> 'v' = '1' AND jsonb_typeof(m -> 'v') = 'number' THEN NULL
            ELSE refusal('unsupported-version',
                         format('v is %s; expected 1. Send version 1 of this message.',
                                coalesce(left((m -> 'v')::text, 80), 'missing')),
                         jsonb_build_object('field', 'v')) END;

CREATE FUNCTION check_id(name text, got jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE WHEN jsonb_typeof(got) = 'string'
             AND char_length(got #>> '{}') BETWEEN 1 AND 200
             AND octet_length(got #>> '{}') <= 800
             AND (got #>> '{}') !~ '[\u0001-\u001f\u007f-\u009f]'
             AND (got #>> '{}') !~ '^\s*$' THEN NULL
            ELSE bad_field(name, got, 'text of 1 to 200 characters and at most 800 bytes, not blank, '
                                      'without control characters') END;

CREATE FUNCTION check_integer(name text, got jsonb, low bigint, high bigint) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE WHEN jsonb_typeof(got) = 'number' AND (got #>> '{}') ~ '^-?\d{1,18}$'
             AND CASE WHEN (got #>> '{}') ~ '^-?\d{1,18}$' THEN (got #>> '{}')::bigint BETWEEN low AND high END THEN NULL
            ELSE bad_field(name, got, format('an integer from %s to %s', low, high)) END;

CREATE FUNCTION check_boolean(name text, got jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE WHEN jsonb_typeof(got) = 'boolean' THEN NULL ELSE bad_field(name, got, 'true or false') END;

CREATE FUNCTION check_one_of(name text, got jsonb, words text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE WHEN jsonb_typeof(got) = 'string' AND (got #>> '{}') = ANY (words) THEN NULL
            ELSE bad_field(name, got, 'one of ' || array_to_string(words, ', ')) END;

CREATE FUNCTION check_pattern(name text, got jsonb, pattern text, expected text) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE WHEN jsonb_typeof(got) = 'string' AND (got #>> '{}') ~ ('^(' || pattern || ')$')
             AND (got #>> '{}') !~ '\n' THEN NULL
            ELSE bad_field(name, got, expected) END;

-- Null where the text is no moment with a zone (RFC 3339).
CREATE FUNCTION moment(got jsonb) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF jsonb_typeof(got) = 'string'
       AND (got #>> '{}') ~* '^\d{4}-\d\d-\d\d[t ]([01]\d|2[0-3]):\d\d:[0-5]\d(\.\d+)?(z|[+-]\d\d:?\d\d)$' THEN
        -- Postgres reads no text of any length; it keeps microseconds anyway.
        RETURN regexp_replace(got #>> '{}', '(\.\d{9})\d+', '\1')::timestamptz;
    END IF;
    RETURN NULL;
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN
    RETURN NULL;
END $$;

CREATE FUNCTION check_resume_at(got jsonb, is_required boolean, is_allowed boolean) RETURNS jsonb LANGUAGE sql STABLE
RETURN CASE
    WHEN got IS NULL AND NOT is_required THEN NULL
    WHEN NOT is_allowed THEN bad_field('dependency.resume_at', got, 'none, since this wait does not end at a time')
    WHEN moment(got) IS NULL OR moment(got) > clock() + interval '10 years'
        THEN bad_field('dependency.resume_at', got, 'a time with a zone (RFC 3339), at most 10 years ahead')
END;

CREATE FUNCTION check_ids(name text, got jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN coalesce(jsonb_typeof(got), '') <> 'array' THEN bad_field(name, got, 'an array of at most 10,000 distinct ids')
    WHEN jsonb_array_length(got) > 10000 THEN bad_field(name, to_jsonb(jsonb_array_length(got)), 'at most 10,000 ids')
    WHEN (SELECT count(*) <> count(DISTINCT i) FROM jsonb_array_elements(got) i)
        THEN bad_field(name, '"an id twice"', 'distinct ids')
    ELSE (SELECT check_id(name, i) FROM jsonb_array_elements(got) i WHERE check_id(name, i) IS NOT NULL LIMIT 1)
END;

CREATE FUNCTION check_items(dependency jsonb, is_batch boolean) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN NOT is_batch AND coalesce(field(dependency, 'items'), field(dependency, 'sealed')) IS NOT NULL
        THEN bad_field('dependency.items', field(dependency, 'items'), 'none, since this wait is not for a batch')
    WHEN NOT is_batch THEN NULL
    ELSE coalesce(check_ids('dependency.items', dependency -> 'items'),
                  CASE WHEN field(dependency, 'sealed') IS NOT NULL
                       THEN check_boolean('dependency.sealed', dependency -> 'sealed') END)
END;

CREATE FUNCTION check_workload(w jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN coalesce(
    check_object('workload', w, ARRAY['engine', 'node', 'pid', 'started_at_ticks', 'container']),
    check_one_of('workload.engine', w -> 'engine', ARRAY['simulate', 'process', 'docker', 'cri']),
    check_pattern('workload.node', w -> 'node', '[a-z0-9][a-z0-9-]{0,62}',
                  'text of 1 to 63 of a-z, 0-9 and -, with no - first'),
    CASE WHEN (field(w, 'pid') IS NULL) = (field(w, 'container') IS NULL)
           OR (field(w, 'pid') IS NULL) <> (field(w, 'started_at_ticks') IS NULL)
         THEN bad_field('workload', w, 'an object with either pid with started_at_ticks, or container') END,
    CASE WHEN field(w, 'container') IS NOT NULL
         THEN check_pattern('workload.container', w -> 'container', '[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}',
                            'text of 1 to 128 of letters, digits, _, . and -, with a letter or digit first')
         ELSE coalesce(check_integer('workload.pid', w -> 'pid', 1, 2147483647),
                       check_integer('workload.started_at_ticks', w -> 'started_at_ticks', 0, 999999999999999999))
    END);

CREATE FUNCTION check_reply_to(name text, got jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE WHEN got IS NOT NULL THEN
    check_pattern(name, got, 'continuations(\.[a-z0-9_-]{1,64})?',
                  'continuations, or continuations. and 1 to 64 of a-z, 0-9, _ and -') END;

-- W3C trace context, level 1.
CREATE FUNCTION check_traceparent(got jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN CASE WHEN got IS NOT NULL THEN
    check_pattern('traceparent', got,
                  '(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}',
                  'a traceparent of W3C trace context, level 1') END;
