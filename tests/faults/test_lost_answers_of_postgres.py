"""Postgres did what it was asked and the answer was lost: what became of it is read, never guessed."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from pydantic import SecretStr
from runs import Run
from upstream import a_completion, a_wait
from waiting import wait_until

from shared import seam
from shared.client import Checkpoints
from shared.connections import Connections
from shared.db.moment import is_of_the_moment
from shared.settings import Settings
from tests.faults.losing_proxy import LosingProxy
from tests.races.in_process import Workers, a_restore, a_take
from workers.checkpoint.restore import Restored, restore
from workers.checkpoint.take import Taken, take
from workers.node.agent import be_seen
from workers.node.node import Node

COMMIT, UPDATE = b"COMMIT", b"UPDATE 1"


@pytest.fixture
def way(settings: Settings) -> Iterator[LosingProxy]:
    """A way to the test's Postgres that may lose an answer."""
    proxy = LosingProxy(settings.database_url.get_secret_value())
    yield proxy
    proxy.close()


@pytest.fixture
def far(settings: Settings, way: LosingProxy) -> Iterator[Connections]:
    """Connections that reach Postgres on that way."""
    at = Connections.open(settings.model_copy(update={"database_url": SecretStr(way.url)}), name="far", size=4)
    be_seen(Node(at))
    yield at
    at.close()


@pytest.fixture
def workers(connections: Connections) -> Workers:
    """The stories of the other workers, whose answers all arrive."""
    return Workers(connections)


@contextmanager
def losing(
    way: LosingProxy, answer: bytes, *, after: str | None, at_each_effect: Callable[[str], None] | None = None
) -> Generator[None]:
    """Lose the first answer of a kind after an effect, or from the start on."""

    def passed(effect: str) -> None:
        if at_each_effect is not None:
            at_each_effect(effect)
        if effect == after and not way.has_lost.is_set():
            way.lose_answer(answer)

    if after is None:
        way.lose_answer(answer)
    seam.listen(passed)
    try:
        yield
    finally:
        seam.listen(None)
    assert way.has_lost.is_set()


@pytest.mark.parametrize(
    ("answer", "after", "epoch"),
    [
        pytest.param(COMMIT, None, 2, id="claim"),  # claimed again: nobody else works under the lock
        pytest.param(COMMIT, "take.stored", 1, id="offer"),
        pytest.param(UPDATE, "settle.left-standing", 1, id="freed"),
    ],
)
def test_a_take_is_accepted_once(
    answer: bytes,
    after: str | None,
    epoch: int,
    far: Connections,
    way: LosingProxy,
    workers: Workers,
    client: Checkpoints,
    a_run: Callable[[], Run],
) -> None:
    """The answer to its claim, to its offer, or to `freed`: the run stands, and is brought back when its wait ends."""
    run = a_run()
    client.defer(a_wait(run.id, run.workload, delay_ms=0))

    with losing(way, answer, after=after):
        assert take(Node(far), a_take(run, 1)) is Taken.ACCEPTED

    assert run.stands
    assert workers.rows("SELECT status, freed_at IS NOT NULL, epoch FROM checkpoint") == [("accepted", True, epoch)]
    workers.resume(a_completion(run.id))
    assert restore(Node(far), a_restore(run, 1)) is Restored.RESTORED
    assert run.goes_on()


def test_a_refused_take_closes_its_row_once(
    far: Connections, way: LosingProxy, workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The wait ended before the offer, and the answer to `close` was lost: the run runs, its row is closed."""
    run = a_run()
    client.defer(a_wait(run.id, run.workload, delay_ms=0))

    def end_the_wait(effect: str) -> None:
        if effect == "take.stored":
            workers.resume(a_completion(run.id))

    with losing(way, COMMIT, after="settle.thawed", at_each_effect=end_the_wait):
        assert take(Node(far), a_take(run, 1)) is Taken.REFUSED

    assert run.goes_on()
    assert workers.rows("SELECT status FROM checkpoint") == [("refused",)]
    assert [one["mode"] for one in workers.continuations(run.id)] == ["live"]


def test_a_failed_take_is_put_back_once(
    settings: Settings, way: LosingProxy, workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The answer to `retry` was lost: one try is counted, the run runs, a sweep brings the next."""
    run = a_run()
    url = SecretStr(way.url)
    failing = settings.model_copy(update={"database_url": url, "simulate_command": ["false"]})
    at = Connections.open(failing, name="far", size=4)
    client.defer(a_wait(run.id, run.workload, delay_ms=0))

    with losing(way, COMMIT, after="settle.thawed"):
        take(Node(at), a_take(run, 1))
    at.close()

    assert run.goes_on()
    assert workers.rows("SELECT status, tries, look_at IS NOT NULL FROM checkpoint") == [("deferred", 1, True)]


def test_a_permit_is_given_once(
    far: Connections, way: LosingProxy, workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The answer to the permit was lost: it is read, the run goes on, and is continued."""
    run = frozen(far, workers, client, a_run())

    with losing(way, UPDATE, after="restore.held"):
        assert restore(Node(far), a_restore(run, 1)) is Restored.RESTORED

    assert run.goes_on()
    assert [one["mode"] for one in workers.continuations(run.id)] == ["restored"]


def test_a_claim_of_nobody_runs_out(
    far: Connections, way: LosingProxy, workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The answer to a restore's claim was lost: nobody has it, and once its lease is over the next restore has."""
    run = frozen(far, workers, client, a_run())

    with losing(way, UPDATE, after=None):
        assert restore(Node(far), a_restore(run, 1)) is Restored.NOTHING_TO_DO
    assert run.stands
    wait_until(lambda: workers.rows("SELECT FROM checkpoint WHERE lease_until <= now()"))

    assert restore(Node(far), a_restore(run, 1)) is Restored.RESTORED
    assert run.goes_on()


def test_a_batch_of_completions_is_written_once(
    far: Connections, way: LosingProxy, workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The answer to a drain's commit was lost: it does the batch again, and sends what the first time had not."""
    run = a_run()
    client.defer(a_wait(run.id, run.workload, delay_ms=60_000))

    way.lose_answer(COMMIT)
    with pytest.raises(psycopg.Error) as caught:
        Workers(far).resume(a_completion(run.id, outcome="first"))
    assert is_of_the_moment(caught.value)
    assert workers.continuations(run.id) == []
    (before,) = workers.rows("SELECT resumed_at FROM dependency WHERE resumed_at IS NOT NULL")
    Workers(far).resume(a_completion(run.id, outcome="first"))

    assert len(workers.continuations(run.id)) == 1
    assert workers.rows("SELECT resumed_at FROM dependency") == [before]


def frozen(far: Connections, workers: Workers, client: Checkpoints, run: Run) -> Run:
    """Freeze a run and end its wait."""
    client.defer(a_wait(run.id, run.workload, delay_ms=0))
    assert take(Node(far), a_take(run, 1)) is Taken.ACCEPTED
    workers.resume(a_completion(run.id))
    return run
