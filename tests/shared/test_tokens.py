"""Revocation tokens: only ever raised, with a time to live, and whatever is no token counts as none."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from redis import Redis
from waiting import wait_until

from shared.broker import Command, Keys, run
from shared.db.deferrals import Revocation
from shared.held import Held, hold_commands
from shared.task_ids import take_id
from shared.tokens import RAISE_LIMIT, is_revoked, raise_commands, watch

TTL = timedelta(minutes=5)
Spoil = Callable[[str], Command]


def raise_token(client: Redis, keys: Keys, *revocations: tuple[str, int]) -> None:
    """Raise tokens as they are raised after a commit."""
    run(client, *raise_commands(keys, [Revocation(name, number, "MANUAL") for name, number in revocations], ttl=TTL))


def value(client: Redis, keys: Keys, run_id: str) -> dict[str, Any]:
    """Return a token as it stands in Redis."""
    return json.loads(cast("bytes", client.get(keys.token(run_id))))


def test_a_token_revokes_the_waits_up_to_its_number(redis_client: Redis, keys: Keys) -> None:
    """Never a later wait, and never another run's."""
    raise_token(redis_client, keys, ("run", 3))

    revoked = [is_revoked(redis_client, keys, run_id="run", wait_number=number) for number in (1, 3, 4)]

    assert revoked == [True, True, False]
    assert not is_revoked(redis_client, keys, run_id="run-2", wait_number=1)


def test_a_token_has_the_contracts_value_and_a_time_to_live(redis_client: Redis, keys: Keys) -> None:
    """Whoever reads it finds number, reason and moment; it goes by itself."""
    raise_token(redis_client, keys, ("run", 3))

    said = value(redis_client, keys, "run")

    assert (said["wait_number"], said["reason"]) == (3, "MANUAL")
    assert datetime.fromisoformat(said["at"]).tzinfo is UTC
    assert 0 < redis_client.pttl(keys.token("run")) <= TTL // timedelta(milliseconds=1)


def test_a_token_is_only_ever_raised(redis_client: Redis, keys: Keys) -> None:
    """A late, lower number takes nothing back."""
    for number in (3, 1, 2):
        raise_token(redis_client, keys, ("run", number))
    assert value(redis_client, keys, "run")["wait_number"] == 3

    raise_token(redis_client, keys, ("run", 4))
    assert value(redis_client, keys, "run")["wait_number"] == 4


SPOILED: dict[str, Spoil] = {
    "no JSON": lambda key: ("SET", key, "garbage"),
    "no object": lambda key: ("SET", key, "[1]"),
    "JSON null": lambda key: ("SET", key, "null"),
    "no number": lambda key: ("SET", key, '{"reason": "MANUAL"}'),
    "a number as text": lambda key: ("SET", key, '{"wait_number": "9"}'),
    "a number beyond all": lambda key: ("SET", key, '{"wait_number": 1e30}'),
    "10^30": lambda key: ("SET", key, f'{{"wait_number": {10**30}}}'),
    "nested deep": lambda key: ("SET", key, f'{{"x": {"[" * 10_000}{"]" * 10_000}, "wait_number": 9}}'),
    "a number that no wait has": lambda key: ("SET", key, '{"wait_number": 2147483648}'),
    "a number below 0": lambda key: ("SET", key, '{"wait_number": -1}'),
    "no text": lambda key: ("SET", key, b"\xff\xfe"),
    "a list": lambda key: ("LPUSH", key, "a"),
    "a hash": lambda key: ("HSET", key, "a", "b"),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_what_is_no_token_counts_as_none(spoil: Spoil, redis_client: Redis, keys: Keys) -> None:
    """The checkpoint goes on, since Postgres decides; and the next token takes its place."""
    run(redis_client, spoil(keys.token("run")))
    assert not is_revoked(redis_client, keys, run_id="run", wait_number=1)

    raise_token(redis_client, keys, ("run", 2))

    assert is_revoked(redis_client, keys, run_id="run", wait_number=2)


def test_a_raised_token_removes_the_held_take_of_that_wait(redis_client: Redis, keys: Keys) -> None:
    """The countdown of a wait that is over costs nothing any more; another's stays."""
    due = datetime.now(UTC) + timedelta(hours=1)
    held = [Held(take_id("run", number), due, keys.queue("checkpoints.n"), b"{}") for number in (1, 2)]
    run(redis_client, *hold_commands(keys, held))

    raise_token(redis_client, keys, ("run", 1))

    assert redis_client.hkeys(keys.held) == [take_id("run", 2).encode()]
    assert run(redis_client, ("ZRANGE", keys.held_due, 0, -1)) == [[take_id("run", 2).encode()]]


def test_any_number_of_tokens_goes_in_bounded_commands(redis_client: Redis, keys: Keys) -> None:
    """Lua takes no more than some thousand values at once."""
    many = [(f"run-{number}", 1) for number in range(2 * RAISE_LIMIT + 1)]
    commands = list(raise_commands(keys, [Revocation(name, number, "") for name, number in many], ttl=TTL))

    run(redis_client, *commands)

    assert len(commands) == 3
    assert all(is_revoked(redis_client, keys, run_id=name, wait_number=1) for name, _ in many)


def test_a_watch_hears_of_a_revocation(redis_client: Redis, keys: Keys) -> None:
    """The event is set while the checkpoint is being taken, and never for an earlier wait."""
    with watch(redis_client, keys, run_id="run", wait_number=2) as revoked:
        raise_token(redis_client, keys, ("run", 1))
        assert not revoked.is_set()

        raise_token(redis_client, keys, ("run", 2))

        wait_until(revoked.is_set)
