-- How a rule says no: {"refused": {code, problem, facts}}, or the same as an error with its own SQLSTATE.

CREATE TABLE refusal_code (
    code text PRIMARY KEY,
    sqlstate text NOT NULL UNIQUE
);

INSERT INTO refusal_code VALUES
    ('invalid-message', 'CK001'),
    ('unsupported-version', 'CK002'),
    ('too-large', 'CK003'),
    ('unknown-field', 'CK004'),
    ('waits-for-itself', 'CK005'),
    ('wait-conflict', 'CK010'),
    ('checkpoint-in-progress', 'CK011'),
    ('attempt-superseded', 'CK012'),
    ('wait-number-too-low', 'CK013'),
    ('dependency-taken', 'CK014'),
    ('run-over', 'CK015'),
    ('unknown-item', 'CK020'),
    ('batch-sealed', 'CK021'),
    ('too-many-waits', 'CK030'),
    ('isolation-level', 'CK031'),
    ('illegal-move', 'CK090');

CREATE FUNCTION refusal(code text, problem text, facts jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN jsonb_build_object('refused', jsonb_build_object('code', code, 'problem', problem, 'facts', facts));

-- The answer as it is; a refusal as an error: MESSAGE is the problem, HINT the code, DETAIL the facts.
CREATE FUNCTION answer_or_raise(answer jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    refused jsonb := answer -> 'refused';
BEGIN
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = (SELECT r.sqlstate FROM refusal_code r WHERE r.code = refused ->> 'code'),
            MESSAGE = refused ->> 'problem',
            HINT = refused ->> 'code',
            DETAIL = refused ->> 'facts';
    END IF;
    RETURN answer;
END $$;

-- Another level would decide by a snapshot that is older than our locks.
CREATE FUNCTION require_read_committed() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM answer_or_raise(refusal('isolation-level', format(
            'the transaction is %s; expected read committed. Begin it with ISOLATION LEVEL READ COMMITTED.',
            upper(current_setting('transaction_isolation')))));
    END IF;
END $$;
