"""What is held in Redis is handed over when it is due, once, and never if it was removed."""

from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from shared.broker import Keys, run
from shared.held import LOOK_AHEAD, MOVE_LIMIT, Held, hold_commands, move_command

PAST = timedelta(seconds=-1)
FAR = LOOK_AHEAD + timedelta(seconds=30)


def due_ids(client: Redis, keys: Keys) -> object:
    """Return the ids of what is held, the earliest first."""
    return run(client, ("ZRANGE", keys.held_due, 0, -1))[0]


def hold(client: Redis, keys: Keys, task_id: str, *, ahead: timedelta, queue: str = "q") -> None:
    """Hold a message whose text is its id."""
    held = Held(task_id, datetime.now(UTC) + ahead, keys.queue(queue), task_id.encode())
    run(client, *hold_commands(keys, [held]))


def test_only_what_is_due_within_the_look_ahead_is_handed_over(redis_client: Redis, keys: Keys) -> None:
    """What is overdue or near goes to its queue, the earliest first; what is far stays."""
    hold(redis_client, keys, "far", ahead=FAR)
    hold(redis_client, keys, "near", ahead=LOOK_AHEAD / 2)
    hold(redis_client, keys, "overdue", ahead=PAST)

    run(redis_client, move_command(keys))

    assert redis_client.lrange(keys.queue("q"), 0, -1) == [b"near", b"overdue"]
    assert due_ids(redis_client, keys) == redis_client.hkeys(keys.held) == [b"far"]


def test_a_message_is_handed_over_once(redis_client: Redis, keys: Keys) -> None:
    """Any number of workers may look: a message goes to its queue once."""
    hold(redis_client, keys, "a", ahead=PAST)

    for _ in range(3):
        run(redis_client, move_command(keys))

    assert redis_client.llen(keys.queue("q")) == 1
    assert redis_client.exists(keys.held, keys.held_due) == 0


def test_a_binary_message_arrives_as_it_was(redis_client: Redis, keys: Keys) -> None:
    """A message may hold every byte, NUL too: only the first NUL ends the queue's name."""
    message = bytes(range(256)) * 2
    held = Held("a", datetime.now(UTC) + PAST, keys.queue("q"), message)
    run(redis_client, *hold_commands(keys, [held]))

    run(redis_client, move_command(keys))

    assert redis_client.lrange(keys.queue("q"), 0, -1) == [message]


@pytest.mark.parametrize("half", ["held", "held_due"])
def test_half_an_entry_hinders_no_other(redis_client: Redis, keys: Keys, half: str) -> None:
    """An entry that lost its message, or was removed by half, is passed over."""
    hold(redis_client, keys, "orphan", ahead=PAST * 2)
    hold(redis_client, keys, "whole", ahead=PAST)
    if half == "held":
        redis_client.hdel(keys.held, "orphan")
    else:
        redis_client.zrem(keys.held_due, "orphan")

    run(redis_client, move_command(keys))

    assert redis_client.lrange(keys.queue("q"), 0, -1) == [b"whole"]
    assert redis_client.zcard(keys.held_due) == 0


def test_a_queue_that_is_no_list_stops_no_other_message(redis_client: Redis, keys: Keys) -> None:
    """What cannot be pushed is kept for later, and what comes after it is handed over."""
    redis_client.set(keys.queue("bad"), "no list")
    hold(redis_client, keys, "stuck", ahead=PAST * 2, queue="bad")
    hold(redis_client, keys, "free", ahead=PAST)

    run(redis_client, move_command(keys))

    assert redis_client.lrange(keys.queue("q"), 0, -1) == [b"free"]
    assert redis_client.hkeys(keys.held) == due_ids(redis_client, keys) == [b"stuck"]


def test_a_look_hands_over_a_bounded_number(redis_client: Redis, keys: Keys) -> None:
    """One look blocks Redis for a bounded time; the rest is handed over by the next."""
    for number in range(MOVE_LIMIT + 1):
        hold(redis_client, keys, str(number), ahead=PAST)

    run(redis_client, move_command(keys))
    after_one = redis_client.llen(keys.queue("q"))
    run(redis_client, move_command(keys))

    assert after_one == MOVE_LIMIT
    assert redis_client.llen(keys.queue("q")) == MOVE_LIMIT + 1
