"""Another's open transaction holds a row: whose message needs it waits, all others go on; then it goes on too."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import psycopg
import pytest
from batches import a_batch, grown, sealed
from drained import drained
from message_door import MessageDoor, item_of
from psycopg import Connection
from psycopg.errors import LockNotAvailable
from runs import Run
from system import System
from upstream import Upstream, a_completion, a_wait, dependency_id
from waiting import wait_until

from shared.broker import Keys, run
from shared.client import Cancel, CancelCause, Checkpoints
from shared.connections import Connections
from shared.db.pool import connect
from shared.queues import RESUMES
from shared.settings import Settings
from shared.vocabulary import CancelReason
from workers.cli.kinds import WorkerKind
from workers.halves import Halves, Kept
from workers.intake import Handled, handle
from workers.resume.resume import ResumeStory

OTHERS: Final = 40
HELD: Final = 3  # rows


@contextmanager
def held(settings: Settings, *ids: str) -> Generator[Connection[Any]]:
    """Hold the rows of waits in a transaction of another's, for as long as the block runs."""
    with psycopg.connect(settings.database_url.get_secret_value()) as conn:
        conn.execute("SELECT FROM dependency WHERE id = ANY (%s) FOR UPDATE", [list(ids)])
        yield conn


def ended(system: System) -> int:
    """Return how many waits are over, in whatever way."""
    return len(system.rows("SELECT id FROM dependency WHERE coalesce(resumed_at, cancelled_at) IS NOT NULL"))


@pytest.mark.parametrize("kind", [WorkerKind.CHECKPOINT, WorkerKind.RESUME])
def test_all_others_go_on_meanwhile(
    kind: WorkerKind, system: System, settings: Settings, upstream: Upstream, a_run: Callable[[], Run]
) -> None:
    """Cancels or completions, some in the middle of which cannot be written: the rest is, and then they are."""
    one = a_run()
    ids = [f"{one.id}-{number}" for number in range(OTHERS + HELD)]
    upstream.client.defer_many([a_wait(name, one.workload, delay_ms=60_000) for name in ids])
    blocked = ids[5 : 5 + HELD]
    system.start(kind)

    with held(settings, *[dependency_id(name, 1) for name in blocked]):
        say_the_end(settings, kind, ids)
        wait_until(lambda: ended(system) == OTHERS)
        # What comes later does not wait either.
        more = [f"{one.id}-more-{number}" for number in range(OTHERS)]
        upstream.client.defer_many([a_wait(name, one.workload, delay_ms=60_000) for name in more])
        say_the_end(settings, kind, more)
        wait_until(lambda: ended(system) == 2 * OTHERS)

    wait_until(lambda: ended(system) == 2 * OTHERS + HELD)
    assert system.rows("SELECT id FROM rejection") == []
    assert [process.poll() for process in system.processes(kind)] == [None]


def say_the_end(settings: Settings, kind: WorkerKind, run_ids: Sequence[str]) -> None:
    """Send what ends the first wait of runs, to the queue of a kind of worker."""
    cause = CancelCause(type=CancelReason.RUN_CANCELLED)
    with Checkpoints(settings, uses_database=False) as elsewhere:
        if kind is WorkerKind.RESUME:
            elsewhere.complete_many([a_completion(name) for name in run_ids])
        else:
            for name in run_ids:
                elsewhere.cancel(Cancel(v=1, run_id=name, reason=cause))


def test_a_drain_that_stops_leaves_what_is_blocked_to_the_others(
    settings: Settings, connections: Connections, upstream: Upstream, a_run: Callable[[], Run]
) -> None:
    """Not acknowledged with the rest of its batch; the next drain has it at once."""
    one, other = a_run(), a_run()
    for waiting in (one, other):
        upstream.wait_for_task(waiting, delay_ms=60_000)

    with held(settings, dependency_id(one.id, 1)):
        with drained(settings):
            say_the_end(settings, WorkerKind.RESUME, [one.id, other.id])
            upstream.continuation(other)
        assert run(connections.redis, ("KEYS", connections.keys.taken(RESUMES, "*"))) != [[]]
    with drained(settings):
        assert upstream.continuation(one)


@pytest.fixture
def story(settings: Settings) -> ResumeStory:
    """What the messages of `resumes` mean."""
    return ResumeStory(settings, Keys(settings.key_prefix))


def test_nothing_overtakes_what_is_blocked_for_the_same_wait(
    settings: Settings, connections: Connections, story: ResumeStory
) -> None:
    """The row is free a moment after the first message was blocked: the second waits for it all the same."""
    door = MessageDoor(connections)
    wait, another = a_batch("one", sealed=False), a_batch("one", sealed=False)
    door.say(("defer", wait), ("defer", another))
    said = [grown(wait, ["two"]), sealed(another), sealed(wait)]
    batch = [item_of(("complete", fields), str(number)) for number, fields in enumerate(said)]

    with held(settings, wait["dependency"]["id"]) as other, connect(settings, name="test") as conn:

        def write(part: Sequence[bytes], limit: timedelta) -> Handled:
            try:
                return handle(story, part, conn=conn, post=connections.post(), lock_limit=limit)
            except LockNotAvailable:
                if len(part) == 1:
                    other.rollback()
                raise

        handled, kept = Halves(story, write, refuse_none).take(batch, Kept())
        assert [letter.raw for letter in handled.letters] == [batch[1]]
        assert kept.messages == [batch[0], batch[2]]

        handled, kept = Halves(story, write, refuse_none).take(kept.messages, kept)
        assert [letter.raw for letter in handled.letters] == [batch[0], batch[2]]
        assert kept.messages == []
    assert door.rejections() == []


def refuse_none(raw: bytes, error: Exception) -> Handled:
    """Nothing here is to be set aside."""
    raise AssertionError(raw) from error
