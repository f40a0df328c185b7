"""Poison on every queue: set aside by name, the good ones behind it are handled, and no worker ends."""

from collections.abc import Callable

import psycopg
import pytest
from drained import drained
from message_door import MessageDoor, item_of
from poison import poison
from redis import Redis
from refusable import OneRun
from runs import Run
from structlog.testing import capture_logs
from system import ALL, System
from upstream import Upstream
from waiting import wait_until

from shared.broker import Keys
from shared.connections import Connections
from shared.queues import DEFERRALS, RESUMES, TaskName, checkpoints_queue
from shared.settings import Settings
from shared.vocabulary import Mode


def test_poison_on_every_queue_harms_nobody_behind_it(
    system: System,
    settings: Settings,
    redis_client: Redis,
    keys: Keys,
    upstream: Upstream,
    a_run: Callable[[], Run],
) -> None:
    """All of it at once under real workers; then a run waits, is frozen and comes back through all three queues."""
    system.start()
    before = {kind: [process.pid for process in system.processes(kind)] for kind in ALL}
    on = {
        DEFERRALS: poison(TaskName.DEFER, DEFERRALS),
        RESUMES: poison(TaskName.COMPLETE, RESUMES),
        checkpoints_queue(settings.node): poison(TaskName.TAKE, checkpoints_queue(settings.node)),
    }
    for queue, bad in on.items():
        redis_client.lpush(keys.queue(queue), *bad.values())

    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL"), seconds=40)
    upstream.complete(run)

    assert upstream.continuation(run).mode is Mode.RESTORED
    expected = {queue: len(bad) for queue, bad in on.items()}
    wait_until(lambda: rejected(system) == expected)
    assert all(row["problem"] and row["code"] for row in system.rows("SELECT problem, code FROM rejection"))
    for kind in ALL:
        assert [process.pid for process in system.processes(kind) if process.poll() is None] == before[kind]


def rejected(system: System) -> dict[str, int]:
    """Return how many messages of each queue are kept as refused."""
    return {row["queue"]: row["n"] for row in system.rows("SELECT queue, count(*) AS n FROM rejection GROUP BY 1")}


@pytest.mark.parametrize("place", [0, 57, 99])
def test_what_only_postgres_finds_bad_is_halved_out_of_its_batch(
    place: int, settings: Settings, connections: Connections, redis_client: Redis, keys: Keys
) -> None:
    """An error that lies in the data is one message's: all others of the batch are written, before and behind it."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as conn:
        conn.execute("ALTER TABLE dependency ADD CHECK (key <> 'poison')")
        conn.execute("ALTER TABLE dependency ADD CHECK (outcome <> '\"poison\"')")
    runs = [OneRun() for _ in range(100)]
    poisoned = runs[place]
    waits = [run.defer(key="poison" if run is poisoned else "k") for run in runs]
    ends = [run.complete(outcome="poison" if run is poisoned else None) for run in runs]
    door = MessageDoor(connections)

    for queue, said in ((DEFERRALS, waits), (RESUMES, ends)):
        redis_client.lpush(keys.queue(queue), *[item_of(one, f"{queue}-{n}") for n, one in enumerate(said)])
    # The traceback that is logged is read by people; as the tests' console draws it, it takes seconds.
    with capture_logs() as logs, drained(settings):
        wait_until(lambda: len(door.rejections()) == 2)
        wait_until(lambda: count(connections, "SELECT count(*) FROM dependency WHERE resumed_at IS NOT NULL") == 99)

    assert [log["queue"] for log in logs if log["log_level"] == "error"] in ([DEFERRALS, RESUMES], [RESUMES, DEFERRALS])
    assert count(connections, "SELECT count(*) FROM dependency") == 99
    assert {kept["queue"] for kept in door.rejections()} == {DEFERRALS, RESUMES}
    assert all("it could not be handled" in kept["problem"] for kept in door.rejections())


def count(connections: Connections, query: str) -> int:
    """Return the number that a query gives."""
    with connections.pool.connection() as conn:
        row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]
