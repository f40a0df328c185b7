"""Real workers on a real Redis: what they are given, what is held back, what they live through."""

import json
import shutil
import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from bad_messages import BAD_MESSAGES, good
from celery import Celery
from celery_scene import Scene, StartWorker
from waiting import wait_until

from shared.broker import run
from shared.guard import SetAside
from shared.held import RECEIPT_AHEAD
from shared.post import envelope
from shared.queues import make_app
from shared.settings import Settings
from shared.transport import REJECTED_MAX, StockChannel, StockTransport
from workers.cli.servers import EmbeddedServer

FAR = timedelta(hours=1)
# Not held by the mover, nor taken back on receipt.
NEAR = RECEIPT_AHEAD / 5


@contextmanager
def open_app(settings: Settings) -> Generator[Celery]:
    """Make an app of a program that only sends."""
    app = make_app("sender", settings)
    yield app
    app.close()


@contextmanager
def open_channel(settings: Settings) -> Generator[StockChannel]:
    """Open a channel as kombu does."""
    with make_app("sender", settings).connection_for_write() as connection:
        channel = connection.channel()
        assert isinstance(channel, StockChannel)
        yield channel


@pytest.mark.parametrize("transport", ["deferred", "stock"])
def test_bad_messages_are_set_aside_and_the_worker_goes_on(
    scene: Scene, start_worker: StartWorker, transport: str
) -> None:
    """No message ends, stops or blocks a worker; each is kept with its queue and the reason."""
    worker = start_worker(scene.settings.model_copy(update={"transport": transport}))

    for item in BAD_MESSAGES.values():
        scene.push(item)
    scene.post("nothing.of.ours", "unknown task")
    scene.post("note", "good")

    wait_until(lambda: scene.ran() == ["good"] or not worker.is_alive())
    wait_until(lambda: len(scene.set_aside()) > len(BAD_MESSAGES))
    records = scene.set_aside()
    assert worker.is_alive()
    assert [r.size for r in records[:-1]] == [len(item) for item in BAD_MESSAGES.values()]
    assert {r.queue for r in records} == {"work"}
    assert all(r.reason for r in records)
    assert b"nothing.of.ours" in records[-1].message
    wait_until(lambda: scene.unacknowledged() == 0)
    assert not worker.has_logged("connection to broker lost")


@pytest.mark.parametrize("transport", ["deferred", "stock"])
def test_a_message_that_has_expired_runs_and_so_does_the_next_of_its_id(
    scene: Scene, start_worker: StartWorker, transport: str
) -> None:
    """Celery drops it without a word, and then what a sweep sends again, since a take's id is always the same."""
    start_worker(scene.settings.model_copy(update={"transport": transport}))
    late = json.loads(envelope("note", {"word": "late"}, task_id="same", queue="work"))
    late["headers"]["expires"] = "2020-01-01T00:00:00+00:00"

    scene.push(json.dumps(late).encode())
    scene.post("note", "again", task_id="same")

    wait_until(lambda: sorted(scene.ran()) == ["again", "late"])


def test_arguments_that_do_not_fit_harm_nothing(scene: Scene, start_worker: StartWorker) -> None:
    """A message with arguments that the task does not have fails by itself."""
    worker = start_worker(scene.settings)
    message = good(nothing="like that")

    scene.push(json.dumps(message).encode())
    scene.post("note", "good")

    wait_until(lambda: scene.ran() == ["good"])
    assert worker.is_alive()


def test_a_bad_broadcast_harms_nothing_and_control_still_works(scene: Scene, start_worker: StartWorker) -> None:
    """What is published where control commands are heard cannot end a worker; `inspect` is answered."""
    worker = start_worker(scene.settings)
    channel = scene.keys.queue("/0.celery.pidbox")

    # The worker hears broadcasts from the first turn of its loop on, a moment after it is ready.
    wait_until(lambda: scene.count("PUBLISH", channel, "no JSON") == 1)
    for text in ("[1]", "{}", '{"properties": 7}'):
        scene.count("PUBLISH", channel, text)
    with open_app(scene.settings) as app:
        replies = app.control.ping(timeout=20, limit=1)

    assert replies
    assert worker.is_alive()
    assert not worker.has_logged("connection to broker lost")


def test_what_is_set_aside_is_bounded(scene: Scene) -> None:
    """The newest are kept: bad messages never fill Redis."""
    scene.client.rpush(scene.keys.rejected, *[b"{}"] * REJECTED_MAX)

    with open_channel(scene.settings) as channel:
        channel.set_aside(b"x", "work", "a reason")

    assert scene.count("LLEN", scene.keys.rejected) == REJECTED_MAX
    newest = scene.client.lindex(scene.keys.rejected, 0)
    assert newest
    assert msgspec.json.decode(newest, type=SetAside).reason == "a reason"


@pytest.mark.parametrize("is_batch", [False, True])
def test_a_countdown_of_any_celery_code_waits_in_redis(
    scene: Scene,
    start_worker: StartWorker,
    *,
    is_batch: bool,
) -> None:
    """`apply_async(countdown=)` reaches no worker before it is near."""
    with (
        open_app(scene.settings) as app,
        app.producer_or_acquire() as producer,
        producer.batch() if is_batch else nullcontext(),
    ):
        app.send_task("note", kwargs={"word": "far"}, queue="work", countdown=3600, producer=producer)
        app.send_task("note", kwargs={"word": "now"}, queue="work", producer=producer)
    held_at_once = scene.held()
    start_worker(scene.settings)

    wait_until(lambda: scene.ran() == ["now"] and scene.unacknowledged() == 0)
    assert held_at_once == scene.held() == 1


def test_a_held_countdown_runs_when_it_is_over(scene: Scene, start_worker: StartWorker) -> None:
    """A held message is handed over in time and runs once, not before its moment."""
    start_worker(scene.settings)
    begin = datetime.now(UTC)

    scene.post("note", "later", countdown=timedelta(seconds=3))
    held = scene.held()
    wait_until(lambda: scene.ran() == ["later"])

    assert held == 1
    assert datetime.now(UTC) - begin >= timedelta(seconds=3)
    assert scene.held() == 0


def test_a_countdown_that_is_sent_again_runs_once(scene: Scene, start_worker: StartWorker) -> None:
    """The second message with a task id takes the place of the first."""
    start_worker(scene.settings)

    for word in ("first", "second"):
        scene.post("note", word, task_id="same", countdown=timedelta(seconds=3))
    scene.post("note", "end", countdown=timedelta(seconds=4))

    wait_until(lambda: "end" in scene.ran())
    assert scene.ran() == ["second", "end"]


def test_a_removed_countdown_never_runs(scene: Scene, start_worker: StartWorker) -> None:
    """A message that was removed while it was held is gone; those beside it run."""
    start_worker(scene.settings)

    scene.post("note", "removed", countdown=timedelta(seconds=3))
    scene.post("note", "end", countdown=timedelta(seconds=4))
    run(scene.client, ("ZREM", scene.keys.held_due, "removed"), ("HDEL", scene.keys.held, "removed"))

    wait_until(lambda: "end" in scene.ran())
    assert scene.ran() == ["end"]


def test_a_far_message_of_another_sender_is_taken_off_the_worker(scene: Scene, start_worker: StartWorker) -> None:
    """A sender without our transport pushes a far eta: it is held in Redis all the same."""
    start_worker(scene.settings)
    eta = datetime.now(UTC) + FAR

    scene.push(envelope("note", {"word": "far"}, task_id="far", queue="work", eta=eta))
    scene.push(envelope("note", {"word": "near"}, task_id="near", queue="work", eta=eta - FAR + NEAR))

    wait_until(lambda: scene.ran() == ["near"])
    assert scene.held() == 1
    wait_until(lambda: scene.unacknowledged() == 0)


def test_the_stock_transport_leaves_a_countdown_to_the_worker(scene: Scene, start_worker: StartWorker) -> None:
    """With `stock` a countdown is correct too: the worker itself waits."""
    settings = scene.settings.model_copy(update={"transport": "stock"})
    start_worker(settings)

    with open_app(settings) as app:
        app.send_task("note", kwargs={"word": "far"}, queue="work", countdown=3600)
        app.send_task("note", kwargs={"word": "later"}, queue="work", countdown=3)

    wait_until(lambda: scene.ran() == ["later"] and scene.unacknowledged() == 1)
    assert scene.held() == 0


@pytest.mark.parametrize("is_emptied", [False, True])
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_worker_outlives_a_restart_of_redis_while_it_holds_messages(
    own_scene: Scene,
    own_redis: EmbeddedServer,
    start_worker: StartWorker,
    *,
    is_emptied: bool,
    is_killed: bool,
) -> None:
    """A stock worker exits at each Redis outage that finds it with an unacknowledged message."""
    worker = start_worker(own_scene.settings)
    own_scene.post("hold", "held")
    own_scene.push(envelope("note", {"word": "eta"}, task_id="e", queue="work", eta=datetime.now(UTC) + NEAR * 4))
    wait_until(lambda: own_scene.ran() == ["held began"] and own_scene.unacknowledged() == 2)

    own_redis.stop(signal.SIGKILL if is_killed else None)
    wait_until(lambda: worker.has_logged("Connection to broker lost") or not worker.is_alive())
    if is_emptied:
        shutil.rmtree(own_redis.log.parent / "appendonlydir")
    own_redis.start()
    own_redis.wait_ready()
    own_scene.client.set(own_scene.keys.queue("test:gate"), "open")
    own_scene.post("note", "after")
    own_scene.post("note", "after, with a countdown", countdown=timedelta(seconds=3))

    wait_until(
        lambda: {"after", "after, with a countdown"} <= set(own_scene.ran()) or not worker.is_alive(), seconds=60
    )
    assert worker.is_alive()


def test_a_channel_closes_whole_while_redis_is_gone(own_scene: Scene, own_redis: EmbeddedServer) -> None:
    """What it holds cannot be given back then; it ends all the same and stays with no connection."""
    with make_app("reader", own_scene.settings).connection_for_read() as connection:
        channel = connection.channel()
        assert isinstance(channel, StockChannel)
        own_scene.post("note", "held")
        message = channel.basic_get("work")
        own_redis.stop()

        channel.close()

        assert message
        transport = connection.transport
        assert isinstance(transport, StockTransport)
        assert transport.channels == []


def test_a_worker_outlives_a_redis_that_became_a_replica(own_scene: Scene, start_worker: StartWorker) -> None:
    """A failover makes Redis read-only for a while; a stock worker exits."""
    worker = start_worker(own_scene.settings)
    own_scene.post("hold", "held")
    wait_until(lambda: own_scene.unacknowledged() == 1)

    run(own_scene.client, ("REPLICAOF", "127.0.0.1", "1"))
    wait_until(lambda: worker.has_logged("read only replica") or not worker.is_alive(), seconds=60)
    run(own_scene.client, ("REPLICAOF", "NO", "ONE"))
    own_scene.client.set(own_scene.keys.queue("test:gate"), "open")
    own_scene.post("note", "after")

    wait_until(lambda: "after" in own_scene.ran() or not worker.is_alive(), seconds=60)
    assert worker.is_alive()


def test_a_worker_starts_on_a_full_redis_and_goes_on_when_there_is_room(
    own_scene: Scene, start_worker: StartWorker
) -> None:
    """A stock worker that starts while Redis refuses writes exits, again and again."""
    own_scene.set_memory_limit(1)

    worker = start_worker(own_scene.settings, ready=False)
    wait_until(lambda: worker.has_logged("maxmemory") or not worker.is_alive(), seconds=60)
    own_scene.set_memory_limit(0)
    own_scene.post("note", "after")

    wait_until(lambda: own_scene.ran() == ["after"] or not worker.is_alive(), seconds=60)
    assert worker.is_alive()


def test_a_full_redis_loses_no_countdown(own_scene: Scene, start_worker: StartWorker) -> None:
    """What falls due while Redis is full stays held, and runs when there is room."""
    worker = start_worker(own_scene.settings)
    own_scene.post("note", "due while full", countdown=timedelta(seconds=3))

    own_scene.set_memory_limit(1)
    wait_until(lambda: worker.has_logged("countdowns.waiting") or not worker.is_alive())
    own_scene.set_memory_limit(0)

    wait_until(lambda: own_scene.ran() == ["due while full"] or not worker.is_alive(), seconds=60)
    assert worker.is_alive()


def test_many_threads_publish_through_one_app(scene: Scene) -> None:
    """The client that a channel keeps serves any number of threads: nothing is lost or mixed up."""
    with open_app(scene.settings) as app:
        ids = [f"{number:03}" for number in range(200)]

        def publish(task_id: str) -> None:
            app.send_task("note", kwargs={"word": task_id}, queue="work", task_id=task_id)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(publish, ids))

    messages = scene.items(scene.keys.queue("work"))
    assert sorted(json.loads(message)["headers"]["id"] for message in messages) == ids


def test_a_channel_builds_one_client_for_all_its_commands(scene: Scene) -> None:
    """Stock kombu builds one for each command, a fifth of the cost of a publish."""
    with (
        open_channel(scene.settings) as channel,
        channel.conn_or_acquire() as first,
        channel.conn_or_acquire() as second,
    ):
        assert first is second
