"""What a post promises: order, held countdowns, and a repeat that sends only what was refused."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from redis import ConnectionError as RedisGone
from redis import Redis, ResponseError

from shared.broker import Keys, connect, run
from shared.held import EPOCH, MILLISECOND
from shared.post import Post, envelope
from shared.settings import Settings
from shared.task_ids import restore_id, take_id
from workers.cli.servers import EmbeddedServer

LATER = timedelta(seconds=30)


def read(message: bytes | str) -> dict[str, Any]:
    """Return a message as a worker's kombu reads it."""
    return msgspec.json.decode(message)


def ids_on(client: Redis, queue: str) -> list[str]:
    """Return the ids of a queue's messages, the next one first."""
    messages = client.lrange(queue, 0, -1)
    assert isinstance(messages, list)
    return [read(message)["headers"]["id"] for message in reversed(messages)]


@pytest.fixture
def post(redis_client: Redis, keys: Keys) -> Post:
    """A post that holds countdowns in Redis."""
    return Post(redis_client, keys, holds=True)


def test_an_envelope_is_what_the_contract_shows_to_other_languages() -> None:
    """An envelope has the fields of Celery's protocol 2, its arguments in base64."""
    eta = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

    message = read(
        envelope("t", {"a": 1}, task_id="i", queue="q", eta=eta, headers={"traceparent": "00-ab", "id": "another"})
    )

    tag = message["properties"].pop("delivery_tag")
    assert tag
    assert b64decode(message.pop("body")) == b'[[],{"a":1},{}]'
    assert message == {
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": "t",
            "id": "i",
            "root_id": "i",
            "eta": "2030-01-02T03:04:05+00:00",
            "traceparent": "00-ab",
        },
        "properties": {
            "correlation_id": "i",
            "delivery_info": {"exchange": "", "routing_key": "q"},
            "body_encoding": "base64",
        },
    }


def test_arguments_that_are_json_already_are_sent_as_they_are() -> None:
    """Bytes are taken for the JSON of the arguments, so that a hot path encodes once."""
    message = read(envelope("t", b'{"a": 1.0}', task_id="i", queue="q"))

    assert b64decode(message["body"]) == b'[[],{"a": 1.0},{}]'


def test_messages_reach_their_queues_in_the_order_of_adding(post: Post, redis_client: Redis, keys: Keys) -> None:
    """A queue gets its messages in the order in which they were added, and nothing before `send`."""
    for number in range(5):
        post.add("odd" if number % 2 else "even", "t", {}, task_id=str(number))
    before = redis_client.exists(keys.queue("odd"), keys.queue("even"))

    post.send()

    assert before == 0
    assert ids_on(redis_client, keys.queue("even")) == ["0", "2", "4"]
    assert ids_on(redis_client, keys.queue("odd")) == ["1", "3"]


def test_what_was_sent_is_not_sent_again(post: Post, redis_client: Redis, keys: Keys) -> None:
    """A second `send` without anything added does nothing."""
    post.add("q", "t", {}, task_id="a")
    post.add("q", "t", {}, task_id="b", countdown=LATER)
    post.send()

    post.send()

    assert ids_on(redis_client, keys.queue("q")) == ["a"]
    assert redis_client.zcard(keys.held_due) == 1


def test_a_long_countdown_waits_in_redis_and_not_on_the_queue(post: Post, redis_client: Redis, keys: Keys) -> None:
    """A long countdown is held with its queue and its due time; a short one goes to the worker."""
    before_ms = (datetime.now(UTC) - EPOCH) // MILLISECOND

    post.add("q", "t", {}, task_id="far", countdown=LATER)
    post.add("q", "t", {}, task_id="near", countdown=timedelta(seconds=1))
    post.send()

    assert ids_on(redis_client, keys.queue("q")) == ["near"]
    due_ms = redis_client.zscore(keys.held_due, "far")
    assert isinstance(due_ms, float)
    assert 0 <= due_ms - before_ms - 30_000 < 10_000
    value = redis_client.hget(keys.held, "far")
    assert isinstance(value, bytes)
    queue, message = value.split(b"\0", 1)
    assert queue.decode() == keys.queue("q")
    eta = datetime.fromisoformat(read(message)["headers"]["eta"])
    assert (eta - EPOCH) // MILLISECOND == due_ms


def test_the_stock_transport_leaves_countdowns_to_the_worker(redis_client: Redis, keys: Keys) -> None:
    """Without holding, a countdown goes to the queue with its eta."""
    post = Post(redis_client, keys, holds=False)

    post.add("q", "t", {}, task_id="far", countdown=LATER)
    post.send()

    assert ids_on(redis_client, keys.queue("q")) == ["far"]
    assert redis_client.exists(keys.held) == 0


def test_a_countdown_that_is_sent_again_takes_the_place_of_the_first(
    post: Post, redis_client: Redis, keys: Keys
) -> None:
    """The same task id is held once, with what was said last."""
    for word in (b'{"n":1}', b'{"n":2}'):
        post.add("q", "t", word, task_id="same", countdown=LATER)
        post.send()

    assert redis_client.zcard(keys.held_due) == redis_client.hlen(keys.held) == 1
    value = redis_client.hget(keys.held, "same")
    assert isinstance(value, bytes)
    assert b64decode(read(value.split(b"\0", 1)[1])["body"]) == b'[[],{"n":2},{}]'


def test_thousands_of_countdowns_are_held_in_one_round_trip(post: Post, redis_client: Redis, keys: Keys) -> None:
    """More countdowns than one script takes are all held."""
    for number in range(2_500):
        post.add("q", "t", b"{}", task_id=str(number), countdown=LATER)

    post.send()

    assert redis_client.zcard(keys.held_due) == redis_client.hlen(keys.held) == 2_500


def test_another_command_goes_behind_the_messages(post: Post, redis_client: Redis, keys: Keys) -> None:
    """What is to happen after the messages travels with them and is carried out last."""
    post.then("LLEN", keys.queue("q"))
    post.then("RENAME", keys.queue("q"), keys.queue("moved"))
    post.add("q", "t", {}, task_id="a")

    post.send()

    assert ids_on(redis_client, keys.queue("moved")) == ["a"]


def test_only_what_redis_refused_is_sent_again(post: Post, redis_client: Redis, keys: Keys) -> None:
    """An error hides no other command, and a repeat doubles nothing that was done."""
    redis_client.set(keys.queue("bad"), "no list")
    post.add("bad", "t", {}, task_id="refused")
    post.add("good", "t", {}, task_id="taken")
    post.add("good", "t", {}, task_id="held", countdown=LATER)

    with pytest.raises(ResponseError, match="WRONGTYPE"):
        post.send()
    held_at_once = redis_client.zcard(keys.held_due)
    redis_client.delete(keys.queue("bad"))
    post.send()

    assert held_at_once == 1
    assert ids_on(redis_client, keys.queue("good")) == ["taken"]
    assert ids_on(redis_client, keys.queue("bad")) == ["refused"]


def test_a_post_survives_a_restart_of_redis(own_redis: EmbeddedServer) -> None:
    """While Redis is away `send` raises; later the same post is sent whole, scripts and all."""
    settings = Settings.model_validate({"broker_url": own_redis.url, "key_prefix": "p:"})
    keys = Keys("p:")
    with connect(settings) as client:
        post = Post(client, keys, holds=True)
        post.add("q", "t", {}, task_id="first", countdown=LATER)
        post.send()
        own_redis.stop()
        post.add("q", "t", {}, task_id="now")
        post.add("q", "t", {}, task_id="later", countdown=LATER)

        with pytest.raises(RedisGone):
            post.send()
        own_redis.restart()
        post.send()

        assert ids_on(client, keys.queue("q")) == ["now"]
        assert run(client, ("ZRANGE", keys.held_due, 0, -1)) == [[b"first", b"later"]]


def test_forgotten_scripts_are_no_hindrance(post: Post, redis_client: Redis, keys: Keys) -> None:
    """A Redis that has forgotten its scripts takes what is held in the same round trip."""
    redis_client.script_flush()
    post.add("q", "t", {}, task_id="a", countdown=LATER)

    post.send()

    assert redis_client.zcard(keys.held_due) == 1


def test_the_ids_of_takes_and_restores_never_change() -> None:
    """A release with other ids would double what an older one has held."""
    assert take_id("run", 7) == "4ca7595e-f195-5223-b1db-32dc1bc34de1"
    assert restore_id("run", 7, 2) == "cf0f1478-a45b-5a54-a9e7-1f3175f36592"
    assert take_id("run-ü", 7) != take_id("run-u", 7)
