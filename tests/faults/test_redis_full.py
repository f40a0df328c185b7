"""Redis is full of its own queues: draining them makes room, so it goes on; what has no room comes once there is."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
import pytest
from drained import drained
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import OutOfMemoryError
from runs import Run
from structlog.testing import capture_logs
from system import ALL, System
from upstream import Upstream, a_completion, a_wait, dependency_id
from waiting import wait_until

from shared.broker import Keys, connect, run
from shared.client import Complete
from shared.connections import Connections
from shared.messages import Message
from shared.post import envelope
from shared.queues import CONTINUATIONS, DEFERRALS, RESUMES, TaskName
from shared.settings import Settings
from shared.vocabulary import OutcomeType
from workers.cli.redis_server import redis_server
from workers.drain import BATCH_MESSAGES

MESSAGES: Final = 20
PUT_SCRIPT: Final = "#!lua flags=allow-oom\nfor _, one in ipairs(ARGV) do redis.call('LPUSH', KEYS[1], one) end"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """The test's settings, on a Redis of the test's own."""
    server = redis_server(tmp_path / "redis", fast=True)
    server.start()
    server.wait_ready()
    yield settings.model_copy(update={"broker_url": SecretStr(server.url)})
    server.stop()


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """The test's way to its Redis."""
    with connect(settings) as client:
        yield client


@contextmanager
def full(redis: Redis) -> Generator[None]:
    """Have it refuse whatever takes memory for as long as the block runs."""
    run(redis, ("CONFIG", "SET", "maxmemory", 1))
    with pytest.raises(OutOfMemoryError):
        run(redis, ("SET", "any", "thing"))
    yield
    run(redis, ("CONFIG", "SET", "maxmemory", 0))


def put(redis: Redis, settings: Settings, queue: str, task: TaskName, messages: Sequence[Message]) -> None:
    """Have messages lie on a queue, full or not."""
    items = [envelope(task, one, task_id=str(uuid4()), queue=queue) for one in messages]
    run(redis, ("EVAL", PUT_SCRIPT, 1, Keys(settings.key_prefix).queue(queue), *items))


def lengths(redis: Redis, settings: Settings) -> list[object]:
    """Return how many messages lie on the queues of the drains."""
    keys = Keys(settings.key_prefix)
    return run(redis, *[("LLEN", keys.queue(queue)) for queue in (DEFERRALS, RESUMES)])


@pytest.mark.parametrize("started", ["before", "meanwhile"])
def test_a_full_redis_is_drained(
    started: str, system: System, settings: Settings, redis: Redis, upstream: Upstream, a_run: Callable[[], Run]
) -> None:
    """By workers that run, and by workers that start: all is registered and resumed; with room all goes on."""
    one = a_run()
    ids = [f"{one.id}-{number}" for number in range(MESSAGES)]
    if started == "before":
        system.start()

    with full(redis):
        put(redis, settings, DEFERRALS, TaskName.DEFER, [a_wait(name, one.workload, delay_ms=60_000) for name in ids])
        put(redis, settings, RESUMES, TaskName.COMPLETE, [a_completion(name) for name in ids])
        if started == "meanwhile":
            system.spawn()
        wait_until(lambda: len(system.rows("SELECT id FROM dependency WHERE completed_at IS NOT NULL")) == MESSAGES)
        wait_until(lambda: lengths(redis, settings) == [0, 0])
        assert upstream.heard == {}

    wait_until(lambda: len(system.rows("SELECT id FROM dependency WHERE done_at IS NOT NULL")) == MESSAGES)
    # A drain and a sweeper may both have sent what there was no room for: with one id, so that it is gone on from once.
    assert [len({one.continuation_id for one in upstream.heard[name, 1]}) for name in ids] == [1] * MESSAGES
    assert system.rows("SELECT id FROM rejection") == []
    assert [process.poll() for kind in ALL for process in system.processes(kind)] == [None, None, None]


def test_what_a_full_redis_refused_comes_once_it_has_room(
    settings: Settings, connections: Connections, redis: Redis, upstream: Upstream, a_run: Callable[[], Run]
) -> None:
    """Continuation, receipt and refusal: their drain sends them as soon as it can, without a sweeper."""
    one = a_run()
    upstream.wait_for_task(one, delay_ms=60_000)
    unknown = Complete(v=1, dependency_id=dependency_id(one.id, 1), outcome_type=OutcomeType.SUCCESS, item_id="none")
    end = msgspec.structs.replace(a_completion(one.id), receipt_to=CONTINUATIONS)

    with drained(settings):
        with full(redis), capture_logs() as logs:
            put(redis, settings, RESUMES, TaskName.COMPLETE, [unknown, end])
            wait_until(lambda: "message.left-to-sweeper" in [log["event"] for log in logs])
        assert upstream.continuation(one)
        wait_until(lambda: upstream.refused)
        wait_until(lambda: upstream.receipts)
    assert redis.llen(connections.keys.queue(RESUMES)) == 0


def test_more_than_a_batch_whose_receipts_have_no_room(
    settings: Settings, connections: Connections, redis: Redis
) -> None:
    """What is refused room does not keep its batch in hand: the next are taken all the same."""
    ids = [str(number) for number in range(2 * BATCH_MESSAGES)]
    ends = [msgspec.structs.replace(a_completion(name), receipt_to=CONTINUATIONS) for name in ids]

    with full(redis), drained(settings):
        put(redis, settings, RESUMES, TaskName.COMPLETE, ends)
        with connections.pool.connection() as conn:
            query = b"SELECT count(*) FROM dependency WHERE completed_at IS NOT NULL"
            wait_until(lambda: conn.execute(query).fetchone() == (len(ids),))
