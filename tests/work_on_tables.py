"""Every statement of `shared/sql` at work on full tables, through the functions that run it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import uuid4

from bad_defers import good
from full_tables import (
    COMPLETE,
    DEFERRED,
    DONE,
    EARLY,
    FROZEN,
    OVER,
    PLAIN,
    RESTORING,
    TAKING,
    TO_RESTORE,
    WITH_HANDSHAKE,
    ids,
    numbers,
)
from psycopg import Connection

from shared.db import checkpoints, deferrals, dependencies, door, nodes, rejections, restores, retention, sweeps
from shared.db.checkpoints import Claim
from shared.db.deferrals import Deferral
from shared.db.nodes import Silence
from shared.db.rejections import Rejection
from shared.db.restores import RestoreClaim

Work: TypeAlias = Callable[[Connection[Any]], object]
SECOND: Final = timedelta(seconds=1)
AGES: Final = timedelta(days=30)


def workload(n: int) -> dict[str, Any]:
    """Return the workload of a row."""
    return {"engine": "simulate", "node": f"node-{n % 10}", "pid": n, "started_at_ticks": n}


def completions(names: list[str]) -> list[bytes]:
    """Return completions of these dependencies."""
    return [
        json.dumps({"v": 1, "dependency_id": name, "outcome": 1, "outcome_type": "success"}).encode() for name in names
    ]


def complete(conn: Connection[Any], names: list[str]) -> object:
    """Complete dependencies as the resume worker does."""
    return dependencies.complete(conn, completions(names), how="resume")


def waits(count: int, *, state: int | None = None, **fields: Any) -> list[Deferral]:
    """Return registrations: the next waits of runs in a state, or the first of new runs."""
    new: list[dict[str, Any]] = [good(**fields) for _ in range(count)]
    for wait, n in zip(new, numbers(state, count) if state is not None else [], strict=False):
        wait |= {"run_id": f"run-{n // 5}" if state == DONE else f"open-{n}", "attempt": 2, "wait_number": 9}
    return [Deferral("defer", json.dumps(wait).encode()) for wait in new]


def late_waits() -> list[Deferral]:
    """Return registrations of waits whose completion came first."""
    bodies = (good(dependency={"id": name}) for name in ids(EARLY, 500))
    return [Deferral("defer", json.dumps(body).encode()) for body in bodies]


def cancels(count: int, **fields: Any) -> list[Deferral]:
    """Return cancels of runs that wait."""
    bodies = (
        {"v": 1, "run_id": f"open-{n}", "reason": {"type": "RUN_CANCELLED"}} | fields for n in numbers(PLAIN, count)
    )
    return [Deferral("cancel", json.dumps(body).encode()) for body in bodies]


def answers(count: int) -> list[Deferral]:
    """Return answers of runs whose checkpoints are deferred."""
    said = ({"v": 1, "run_id": f"open-{n}", "wait_number": n % 5 + 1} for n in numbers(DEFERRED, count))
    return [Deferral("ready", json.dumps(body).encode()) for body in said]


def bodies(messages: list[Deferral]) -> list[bytes]:
    """Return the JSON of messages."""
    return [message.body for message in messages]


def as_upstream(conn: Connection[Any]) -> None:
    """Let the planner choose freely, as on the connection of an upstream."""
    for name in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
        conn.execute(f"SET LOCAL {name} = on".encode())


def claim(state: int) -> Claim:
    """Return the claim of a row."""
    [n] = numbers(state, 1)
    return Claim(n, f"d-{n}", f"open-{n}", 1, n % 5 + 1, workload(n), 1, 0)


def restore_claim() -> RestoreClaim:
    """Return the claim of a row that is being restored."""
    [n] = numbers(RESTORING, 1)
    return RestoreClaim(
        n,
        f"d-{n}",
        f"open-{n}",
        1,
        n % 5 + 1,
        workload(n),
        1,
        "",
        None,
        0,
        is_portable=False,
        restores=1,
        is_freed=True,
    )


def one(state: int) -> dict[str, Any]:
    """Return the dependency, the run and the node of a row, as arguments."""
    [n] = numbers(state, 1)
    return {"dependency_id": f"d-{n}", "run_id": f"open-{n}"}


def named(state: int) -> dict[str, Any]:
    """Return those with the node."""
    return one(state) | {"node": f"node-{numbers(state, 1)[0] % 10}"}


def make_due(conn: Connection[Any]) -> None:
    """Let the time of every look come."""
    conn.execute("SELECT set_config('checkpoint.clock', (now() + interval '1 year')::text, true)")


def a_rejection(conn: Connection[Any]) -> int:
    """Keep a refused message."""
    return rejections.keep(conn, [Rejection(queue="resumes", code="invalid-message", problem="p", raw=b"raw")])


def offer(conn: Connection[Any]) -> bool:
    """Offer an image."""
    return checkpoints.offer(
        conn, claim(TAKING), location="x", digest=None, image_bytes=0, is_portable=True, phases={"a": 1}, grace=SECOND
    )


def sweep_waits(conn: Connection[Any]) -> object:
    """Look at waits whose time has come."""
    make_due(conn)
    return sweeps.dependencies(conn, limit=500)


def sweep_checkpoints(conn: Connection[Any]) -> object:
    """Look at checkpoints whose time has come."""
    make_due(conn)
    return sweeps.checkpoints(conn, limit=500)


# What is done; how many rows it is about; how many pages each may cost: half as many again as were measured, of the
# 3,000 that the tables have.
WORK: Final[dict[str, tuple[Work, int, int]]] = {
    "complete and resume 500": (
        lambda c: dependencies.complete(c, completions(ids(PLAIN, 500)), how="resume"),
        500,
        30,
    ),
    "complete and resume one": (lambda c: dependencies.complete(c, completions(ids(PLAIN, 1)), how="resume"), 1, 60),
    "complete 500 again": (lambda c: complete(c, ids(DONE, 500)), 500, 20),
    "complete 500 early": (lambda c: complete(c, [uuid4().hex for _ in range(500)]), 500, 25),
    "resume 500": (lambda c: dependencies.resume(c, ids(COMPLETE, 500)), 500, 30),
    "resume one": (lambda c: dependencies.resume(c, ids(COMPLETE, 1)), 1, 60),
    "resume 500 that are open": (lambda c: dependencies.resume(c, ids(PLAIN, 500)), 500, 10),
    "continue 500": (lambda c: dependencies.to_continue(c, ids(TO_RESTORE, 500)), 500, 10),
    "continue one": (lambda c: dependencies.to_continue(c, ids(RESTORING, 1)), 1, 60),
    "done 500": (lambda c: dependencies.done(c, ids(TO_RESTORE, 500)), 500, 25),
    "done one": (lambda c: dependencies.done(c, ids(TO_RESTORE, 1)), 1, 60),
    "end a manual wait": (lambda c: dependencies.end_manual(c, ids(PLAIN, 1)[0]), 1, 60),
    "register 500 new runs": (lambda c: deferrals.apply(c, waits(500)), 500, 60),
    "register one": (lambda c: deferrals.apply(c, waits(1, key="k")), 1, 100),
    "register 500 waits that were completed early": (lambda c: deferrals.apply(c, late_waits()), 500, 70),
    "register 500 next waits": (lambda c: deferrals.apply(c, waits(500, state=DONE)), 500, 60),
    "register 500 next attempts": (lambda c: deferrals.apply(c, waits(500, state=PLAIN)), 500, 80),
    "cancel 500 runs": (lambda c: deferrals.apply(c, cancels(500)), 500, 60),
    "call 500 checkpoints off": (
        lambda c: deferrals.apply(c, cancels(500, wait_number=5, reason={"type": "MANUAL"})),
        500,
        60,
    ),
    "claim the first time": (lambda c: (make_due(c), checkpoints.claim(c, **named(PLAIN), grace=SECOND)), 1, 60),
    "claim again": (lambda c: (make_due(c), checkpoints.claim(c, **named(DEFERRED), grace=SECOND)), 1, 60),
    "ask a run": (
        lambda c: (make_due(c), checkpoints.ask(c, **named(WITH_HANDSHAKE), patience=SECOND, grace=SECOND)),
        1,
        60,
    ),
    "500 runs answer": (lambda c: deferrals.apply(c, answers(500)), 500, 40),
    "close an unanswered question": (
        lambda c: (make_due(c), checkpoints.close_unanswered(c, numbers(DEFERRED, 1)[0], error="e")),
        1,
        60,
    ),
    "read what could not be claimed": (lambda c: checkpoints.state(c, **named(FROZEN)), 1, 60),
    "read how a checkpoint stands": (lambda c: checkpoints.outlook(c, one(FROZEN)["dependency_id"]), 1, 60),
    "offer": (offer, 1, 60),
    "read an offer": (lambda c: checkpoints.is_accepted(c, numbers(FROZEN, 1)[0], location="x"), 1, 60),
    "put back": (lambda c: checkpoints.retry(c, claim(TAKING), delay=SECOND, grace=SECOND, error="e"), 1, 60),
    "close": (lambda c: checkpoints.close(c, claim(TAKING).id, epoch=1, status="refused"), 1, 60),
    "free": (lambda c: checkpoints.freed(c, numbers(OVER, 1)[0]), 1, 60),
    "discard": (lambda c: checkpoints.discard(c, numbers(OVER, 1)[0], phases={}), 1, 60),
    "the newest wait of a workload": (
        lambda c: checkpoints.newest_wait(c, run_id=one(FROZEN)["run_id"], workload=workload(FROZEN)),
        1,
        60,
    ),
    "whose workloads are these": (
        lambda c: checkpoints.of_workloads(c, [workload(n) for n in numbers(FROZEN, 100)]),
        100,
        10,
    ),
    "claim a restore": (lambda c: restores.claim_restore(c, **named(TO_RESTORE), lease=SECOND), 1, 60),
    "permit": (lambda c: restores.permit(c, restore_claim(), workload=workload(1), phases={}, grace=SECOND), 1, 60),
    "read a permit": (lambda c: restores.is_permitted(c, restore_claim()), 1, 60),
    "give a restore back": (lambda c: restores.give_back(c, restore_claim(), error="e"), 1, 60),
    "lose": (lambda c: restores.lose(c, restore_claim(), node="node-1", error="e", patience=SECOND), 1, 60),
    "read a loss": (lambda c: restores.is_lost(c, restore_claim()), 1, 60),
    "what is left on a node": (lambda c: checkpoints.left(c, node="node-1", limit=20), 1, 60),
    "nothing is left on a node": (lambda c: checkpoints.nothing_left(c, numbers(OVER, 1)[0], node="node-1"), 1, 60),
    "sweep 500 waits": (sweep_waits, 500, 40),
    "sweep 500 checkpoints": (sweep_checkpoints, 500, 45),
    "when to look next": (sweeps.seconds_to_next, 1, 60),
    "register 500 at the SQL door": (
        lambda c: (as_upstream(c), door.call(c, "defer", bodies(waits(500, state=PLAIN)))),
        500,
        90,
    ),
    "complete 500 at the SQL door": (
        lambda c: (as_upstream(c), door.call(c, "complete", completions(ids(PLAIN, 500)))),
        500,
        40,
    ),
    "cancel 500 at the SQL door": (lambda c: (as_upstream(c), door.call(c, "cancel", bodies(cancels(500)))), 500, 60),
    "keep a rejection": (a_rejection, 1, 60),
    "prune rejections": (lambda c: rejections.prune(c, keep=10), 1, 60),
    "where to send a refusal": (lambda c: rejections.reply_to(c, **one(PLAIN)), 1, 60),
    "where to send a refusal, by run": (lambda c: rejections.reply_to(c, run_id="run-7", dependency_id=None), 1, 60),
    "a node appears": (lambda c: nodes.wake(c, "node-1"), 1_000, 40),
    "a node lives": (lambda c: nodes.seen(c, "node-1", engines=["simulate"], silent=SECOND), 1, 60),
    "a node falls silent": (lambda c: (make_due(c), nodes.fall_silent(c, lease=SECOND)), 1_000, 40),
    "whom a silent node has": (lambda c: nodes.out_of_reach(c, "node-1", after="", limit=500), 500, 40),
    "upstreams know of a silence": (lambda c: nodes.told(c, Silence("node-1", datetime.now(UTC))), 1, 60),
    "claim a continuation": (lambda c: door.claim_continuation(c, ids(TO_RESTORE, 1)[0]), 1, 60),
    "finish a continuation": (lambda c: door.finish_continuation(c, ids(TO_RESTORE, 1)[0]), 1, 60),
    "retire 100 waits": (lambda c: retention.retire_waits(c, keep=timedelta(days=1), limit=100), 100, 20),
    "retire completions": (lambda c: retention.retire_early(c, keep=timedelta(days=1), limit=100), 100, 20),
    "retire marks": (lambda c: retention.retire_marks(c, keep=AGES, limit=100), 1, 60),
}
