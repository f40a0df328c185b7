"""A wait that ends around the offer of its image: one of the two comes first, and all that follows agrees with it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import uuid4

import msgspec
from by_hand import AtEffect, ByHand, Ended
from psycopg import Connection, Rollback
from runs import Run
from upstream import a_completion, a_wait, dependency_id
from waiting import wait_until

from shared.db import checkpoints, dependencies
from shared.db.checkpoints import Claim
from shared.db.dependencies import Resumed
from shared.messages import Workload
from shared.vocabulary import EngineName, Mode
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken

ROUNDS = 50
GRACE = timedelta(seconds=1)
NOBODY = 2**31 - 1  # no process has this pid


def test_a_wait_that_ended_before_the_offer_refuses_it(
    hand: ByHand, a_run: Callable[[], Run], at_effect: AtEffect
) -> None:
    """Vector 4: resumed when the image was stored and not offered yet: refused, thawed, and gone on live."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    stood: list[bool] = []
    at_effect("take.stored", lambda: (stood.append(run.stands), hand.complete(run)))

    assert hand.checkpoint_worker() == [Taken.REFUSED]

    assert stood == [True]
    assert run.goes_on()
    row = hand.checkpoint_row(run)
    assert row is not None
    assert (row["status"], row["location"], row["look_at"]) == ("refused", None, None)
    assert hand.wait_row(run)["checkpoint_id"] is None
    assert hand.continuation().mode is Mode.LIVE


def test_a_time_that_ended_before_the_offer_refuses_it(
    hand: ByHand, a_run: Callable[[], Run], at_effect: AtEffect
) -> None:
    """Vector 18: the engine succeeded, and the time was over before: refused, as the end of any other wait."""
    run = a_run()
    resume_at = hand.wait_for_time(run, seconds=3_600)

    # Also where nobody has resumed the wait yet.
    at_effect("take.stored", lambda: hand.sweeper(at=resume_at))

    assert hand.checkpoint_worker() == [Taken.REFUSED]
    assert run.goes_on()
    row = hand.checkpoint_row(run)
    assert row is not None
    assert (row["status"], row["location"]) == ("refused", None)
    hand.resume_worker()
    assert (hand.continuation().mode, hand.checkpoint_worker()) == (Mode.LIVE, [])


def test_a_wait_that_ends_just_after_the_acceptance_is_restored(
    hand: ByHand, a_run: Callable[[], Run], at_effect: AtEffect
) -> None:
    """Vector 5: accepted, and over before the old process is gone: no live continuation, it is restored after that."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    meanwhile: list[Ended] = []

    def end_the_wait() -> None:
        hand.complete(run)
        meanwhile.extend(hand.checkpoint_worker())

    at_effect("take.offered", end_the_wait)

    assert hand.checkpoint_worker() == [Taken.ACCEPTED]

    assert meanwhile == [Restored.BUSY]
    assert hand.continuations() == []
    assert run.stands
    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert hand.continuation().mode is Mode.RESTORED
    assert run.goes_on()


def test_acceptance_and_resume_at_the_same_moment_never_both_come_first(hand: ByHand) -> None:
    """Vector 8: whichever of the two updates comes second finds the other: no live continuation of a frozen run."""
    start = Barrier(2)

    def together(work: Callable[[Connection[Any]], Any]) -> Any:
        with hand.at.pool.connection() as conn:
            start.wait()
            return work(conn)

    with ThreadPoolExecutor(2) as threads:
        for _ in range(ROUNDS):
            claim = a_claim(hand)
            offered = threads.submit(together, lambda conn, claim=claim: offer(conn, claim))
            resumed = threads.submit(together, lambda conn, claim=claim: resume(conn, claim))
            agree(hand, claim, is_accepted=offered.result(), resumed=resumed.result())


def test_a_resume_beside_an_uncommitted_acceptance_waits_and_then_finds_it(hand: ByHand) -> None:
    """Vector 8, the acceptance first: the resume begins before its commit, and then calls for a restore."""
    claim = a_claim(hand)
    with ThreadPoolExecutor(1) as thread, hand.at.pool.connection() as one, hand.at.pool.connection() as other:
        with one.transaction():
            is_accepted = offer(one, claim)
            resumed = thread.submit(resume, other, claim)
            wait_until(lambda: waits_for_a_lock(hand, other))

        assert is_accepted
        agree(hand, claim, is_accepted=is_accepted, resumed=resumed.result())


def test_an_offer_beside_an_uncommitted_resume_waits_and_is_then_refused(hand: ByHand) -> None:
    """Vector 8, the resume first: the offer begins before its commit, and then changes neither row."""
    claim = a_claim(hand)
    with ThreadPoolExecutor(1) as thread, hand.at.pool.connection() as one, hand.at.pool.connection() as other:
        with one.transaction():
            resumed = resume(one, claim)
            is_accepted = thread.submit(offer, other, claim)
            wait_until(lambda: waits_for_a_lock(hand, other))

        assert not is_accepted.result()
        agree(hand, claim, is_accepted=False, resumed=resumed)


def a_claim(hand: ByHand) -> Claim:
    """Register a wait of a run without a process, and claim its checkpoint."""
    run_id = f"run-{uuid4().hex}"
    workload = Workload(EngineName.SIMULATE, hand.node.name, pid=NOBODY, started_at_ticks=1)
    hand.client.defer(a_wait(run_id, workload, delay_ms=0))
    with hand.at.pool.connection() as conn:
        claim = checkpoints.claim(conn, dependency_id(run_id, 1), run_id=run_id, node=hand.node.name, grace=GRACE)
    assert claim is not None
    return claim


def offer(conn: Connection[Any], claim: Claim) -> bool:
    """Offer an image, in one transaction; both rows change or none."""
    image: dict[str, Any] = {
        "location": "simulate:image",
        "digest": None,
        "image_bytes": 0,
        "phases": {},
        "is_portable": False,
    }
    with conn.transaction() as transaction:
        is_accepted = checkpoints.offer(conn, claim, **image, grace=GRACE)
        if not is_accepted:
            raise Rollback(transaction)
    return is_accepted


def resume(conn: Connection[Any], claim: Claim) -> Resumed:
    """Complete and resume the wait in one transaction, and return what it then calls for."""
    with conn.transaction():
        body = msgspec.json.encode(a_completion(claim.run_id))
        assert dependencies.complete(conn, [body], how="resume").completed == [claim.dependency_id]
        (row,) = dependencies.to_continue(conn, [claim.dependency_id])
    return row


def agree(hand: ByHand, claim: Claim, *, is_accepted: bool, resumed: Resumed) -> None:
    """Check that the resume worker sends a live continuation if, and only if, the offer was refused."""
    assert (resumed.checkpoint_id is not None) is is_accepted
    with hand.at.pool.connection() as conn:
        state = checkpoints.state(conn, claim.dependency_id, run_id=claim.run_id, node=hand.node.name)
    assert state is not None
    assert state.status == ("accepted" if is_accepted else "taking")


def waits_for_a_lock(hand: ByHand, conn: Connection[Any]) -> bool:
    """Whether a connection's statement waits for another's transaction."""
    with hand.at.pool.connection() as asking:
        query = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
        row = asking.execute(query, (conn.info.backend_pid,)).fetchone()
    return bool(row and row[0])
