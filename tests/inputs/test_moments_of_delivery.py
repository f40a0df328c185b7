"""An `eta` is a header that anybody may write: it ends no worker, fills none, and puts off nothing that is due."""

import json
from collections.abc import Callable
from typing import Final, cast

import msgspec
from by_hand import completion_of
from redis import Redis
from runs import Run
from system import ALL, System
from upstream import Upstream, a_wait, dependency_id
from waiting import wait_until

from shared.broker import Keys, run
from shared.messages import Take
from shared.post import envelope
from shared.queues import DEFERRALS, RESUMES, TaskName, checkpoints_queue
from shared.settings import Settings
from shared.task_ids import take_id
from shared.vocabulary import Mode

ETAS: Final = {
    "a word": "tomorrow",
    "the year 1": "0001-01-01T00:00:00Z",
    "the year 1, east of it": "0001-01-01T00:00:00+14:00",
    "without a zone": "0001-01-01T00:00:00",
    "in 10 years": "2036-12-01T00:00:00Z",
    "at the end of time": "9999-12-31T23:59:59Z",
    "beyond it": "9999-12-31T23:59:59-14:00",
}
# No moments for Celery: their takes are set aside.
NO_MOMENTS: Final = {"a word", "the year 1, east of it", "beyond it"}
FAR: Final = {"in 10 years", "at the end of time"}


def test_both_drains_handle_a_message_at_once_whatever_its_eta(
    system: System, upstream: Upstream, redis_client: Redis, keys: Keys, a_run: Callable[[], Run]
) -> None:
    """A wait begins and ends with each of them: continued live, nothing refused, nothing held back."""
    system.start()
    runs = {eta: a_run() for eta in ETAS.values()}
    for eta, one in runs.items():
        wait = envelope(TaskName.DEFER, a_wait(one.id, one.workload), task_id=one.id, queue=DEFERRALS)
        redis_client.lpush(keys.queue(DEFERRALS), due(wait, eta))
    wait_until(lambda: len(system.rows("SELECT FROM dependency")) == len(ETAS))
    for eta, one in runs.items():
        redis_client.lpush(keys.queue(RESUMES), due(completion_of(one), eta))

    assert {upstream.continuation(one).mode for one in runs.values()} == {Mode.LIVE}
    assert system.rows("SELECT FROM rejection") == []


def test_a_take_with_any_eta_harms_neither_its_worker_nor_the_checkpoint(
    system: System,
    settings: Settings,
    upstream: Upstream,
    redis_client: Redis,
    keys: Keys,
    a_run: Callable[[], Run],
) -> None:
    """With the id of the real one, whose place it takes: the run is frozen all the same, and no worker holds it."""
    system.start()
    before = {kind: [process.pid for process in system.processes(kind)] for kind in ALL}
    queue = checkpoints_queue(settings.node)
    runs = {name: a_run() for name in ETAS}
    for name, one in runs.items():
        upstream.wait_for_task(one, delay_ms=1_000)
        take = Take(v=1, dependency_id=dependency_id(one.id, 1), run_id=one.id, wait_number=1, first=True)
        forged = envelope(TaskName.TAKE, take, task_id=take_id(one.id, 1), queue=queue)
        redis_client.lpush(keys.queue(queue), due(forged, ETAS[name]))

    wait_until(lambda: len(system.rows("SELECT FROM checkpoint WHERE freed_at IS NOT NULL")) == len(ETAS))

    assert all(one.stands for one in runs.values())
    wait_until(lambda: len(system.rows("SELECT FROM rejection WHERE queue = %s", queue)) == len(NO_MOMENTS))
    # Its worker holds none of them: what is far waits in Redis, and goes with the end of its wait.
    wait_until(lambda: run(redis_client, ("HLEN", keys.queue("unacked"))) == [0])
    assert held(redis_client, keys) == {take_id(runs[name].id, 1) for name in FAR}
    for one in runs.values():
        upstream.complete(one)
    assert {upstream.continuation(one).mode for one in runs.values()} == {Mode.RESTORED}
    wait_until(lambda: held(redis_client, keys) == set())
    for kind in ALL:
        assert [process.pid for process in system.processes(kind) if process.poll() is None] == before[kind]


def held(client: Redis, keys: Keys) -> set[str]:
    """Return the ids of the messages that Redis holds until they are due."""
    return {id_.decode() for id_ in cast("list[bytes]", run(client, ("HKEYS", keys.held))[0])}


def due(message: bytes, eta: str) -> bytes:
    """Return a message with another eta."""
    item = json.loads(message)
    item["headers"]["eta"] = eta
    return msgspec.json.encode(item)
