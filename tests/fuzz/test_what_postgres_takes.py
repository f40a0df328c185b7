"""What a decoder accepts, Postgres takes, keeps as it was said, and gives back so that its waiter can read it."""

import json
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import msgspec
from fuzzed import JSON, MOMENTS, STRINGS, fields_gone_wrong, fuzz
from hypothesis import given
from hypothesis import strategies as st
from psycopg import Connection
from upstream import a_wait

from shared.broker import run
from shared.connections import Connections
from shared.continuations import add_what_it_calls_for
from shared.db import deferrals, dependencies, sweeps
from shared.db.deferrals import Deferral, Kind, Result
from shared.errors import Refused
from shared.messages import Cancel, Complete, Continue, Defer, Dependency, Message, Workload
from shared.queues import CONTINUATIONS
from shared.reading import read
from shared.replies import read_reply
from shared.vocabulary import EngineName

EPOCH = datetime.fromtimestamp(0, UTC)
WORKLOAD = Workload(EngineName.SIMULATE, "node-1", pid=7, started_at_ticks=70)
COMPLETIONS = st.one_of(
    fields_gone_wrong("dependency.complete").map(lambda it: it[1]),
    JSON.map('{{"v": 1, "dependency_id": "d", "outcome_type": "success", "outcome": {}}}'.format),
)
WAITS = st.one_of(
    fields_gone_wrong("checkpoint.defer").map(lambda it: it[1]),
    st.builds(
        '{{"v": 1, "run_id": {}, "attempt": 1, "wait_number": 1, "reason": "WAIT_FOR_DURATION", "workload": '
        '{{"engine": "cri", "node": "n", "container": "c"}}, "dependency": {{"id": {}, "resume_at": {}}}}}'.format,
        STRINGS,
        STRINGS,
        MOMENTS,
    ),
)


def accepted(text: str, type_: type[Message]) -> bytes | None:
    """Return a message's bytes; None: it is refused, and never comes to Postgres."""
    body = text.encode(errors="replace")
    try:
        read(body, type_)
    except Refused:
        return None
    return body


def apply(conn: Connection[Any], kind: Kind, body: bytes) -> Result:
    """Apply one message as the drain does."""
    (result,) = deferrals.apply(conn, [Deferral(kind, body)])
    assert (result.answer is None) != (result.refused is None)
    return result


def continued(at: Connections, conn: Connection[Any], dependency_id: str) -> Continue | None:
    """Return the continuation of a wait as its upstream reads it; None: none is due."""
    post = at.post()
    for row in dependencies.to_continue(conn, [dependency_id]):
        add_what_it_calls_for(post, row)
    post.send()
    names = cast("list[bytes]", run(at.redis, ("KEYS", at.keys.queue(f"{CONTINUATIONS}*")))[0])
    raws = [cast("bytes", at.redis.rpop(name.decode())) for name in names]
    replies = [read_reply(raw) for raw in raws]
    assert all(isinstance(reply, Continue) for reply in replies), raws
    return cast("Continue", replies[0]) if replies else None


def as_doubles(value: Any) -> Any:
    """Return a value with every number as most languages have it."""
    return json.loads(json.dumps(value), parse_int=float)


@fuzz(150)
@given(COMPLETIONS)
def test_an_outcome_comes_to_its_waiter_as_it_was_said(connections: Connections, text: str) -> None:
    """Through the decoder, Postgres, the continuation and the client's decoder."""
    body = accepted(text, Complete)
    if body is None:
        return
    said = read(body, Complete)
    run_id = f"run-{uuid4()}"
    with connections.pool.connection() as conn, conn.transaction(force_rollback=True):
        wait = a_wait(run_id, WORKLOAD, dependency=Dependency(said.dependency_id))
        deferrals.apply(conn, [Deferral("defer", msgspec.json.encode(wait))])
        dependencies.complete(conn, [body], how="resume")
        told = continued(connections, conn, said.dependency_id)

    if told is not None:
        assert told.outcomes is not None
        outcome = told.outcomes[said.dependency_id]
        assert outcome.type == said.outcome_type
        assert as_doubles(outcome.value) == as_doubles(json.loads(body).get("outcome"))


@fuzz(150)
@given(WAITS)
def test_a_wait_is_kept_as_it_was_said_and_can_go_on(connections: Connections, text: str) -> None:
    """Its time is the moment that was meant; whatever it is, a sweep and a continuation can read it."""
    body = accepted(text, Defer)
    if body is None:
        return
    said = read(body, Defer)
    with connections.pool.connection() as conn, conn.transaction(force_rollback=True):
        result = apply(conn, "defer", body)
        again = apply(conn, "defer", body)
        kept = conn.execute(
            "UPDATE dependency SET look_at = clock(), completed_at = clock(), outcome_type = 'success' "
            "RETURNING run_id, id, resume_at"
        ).fetchone()
        swept = sweeps.dependencies(conn, limit=10)
        resumed = dependencies.resume(conn, [said.dependency.id])
        told = continued(connections, conn, said.dependency.id)

    assert (result.refused, again.refused) == (None, None)
    assert again.defer_answer().duplicate
    resume_at = said.dependency.resume_at
    assert kept is not None
    assert kept[:2] == (said.run_id, said.dependency.id)
    if resume_at is not None:
        assert kept[2] == max(resume_at, EPOCH)
    assert [row.id for row in swept] == resumed == [said.dependency.id]
    assert told is not None
    assert (told.run_id, told.dependency_id, told.traceparent) == (said.run_id, said.dependency.id, said.traceparent)


@fuzz(60)
@given(fields_gone_wrong("checkpoint.cancel").map(lambda it: it[1]))
def test_a_cancel_is_applied_twice_with_one_effect(connections: Connections, text: str) -> None:
    """Each that is accepted is answered, also when nobody has heard of its run."""
    body = accepted(text, Cancel)
    if body is None:
        return
    with connections.pool.connection() as conn, conn.transaction(force_rollback=True):
        answers = [apply(conn, "cancel", body).answer for _ in range(2)]

    assert answers == [{"called_off": False, "wait_ended": False}] * 2
