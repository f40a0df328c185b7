"""What stands where a run's token would, and is none: the checkpoint goes on, since Postgres decides."""

from collections.abc import Callable
from typing import Final

import pytest
from by_hand import ByHand
from runs import Run

from shared.broker import Command, run
from shared.vocabulary import Mode
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken

Spoil = Callable[[str], Command]
TOKENS: Final[dict[str, Spoil]] = {
    "no JSON": lambda key: ("SET", key, "{"),
    "no bytes": lambda key: ("SET", key, ""),
    "no text": lambda key: ("SET", key, b"\xff\0"),
    "a number": lambda key: ("SET", key, "9"),
    "N of -1": lambda key: ("SET", key, '{"wait_number": -1, "reason": "MANUAL", "at": "2026-01-01T00:00:00Z"}'),
    "N of 10^30": lambda key: ("SET", key, f'{{"wait_number": {10**30}, "reason": "MANUAL"}}'),
    "N of 5,000 digits": lambda key: ("SET", key, f'{{"wait_number": {"9" * 5_000}}}'),
    "N of 1e400": lambda key: ("SET", key, '{"wait_number": 1e400}'),
    "N of text": lambda key: ("SET", key, '{"wait_number": "9"}'),
    "nested deep": lambda key: ("SET", key, f'{{"x": {"[" * 100_000}{"]" * 100_000}, "wait_number": 9}}'),
    "N beside no text": lambda key: ("SET", key, b'{"wait_number": 9, "reason": "\xff"}'),
    "a list": lambda key: ("LPUSH", key, '{"wait_number": 9}'),
    "a set": lambda key: ("SADD", key, '{"wait_number": 9}'),
    "a hash": lambda key: ("HSET", key, "wait_number", "9"),
}


@pytest.mark.parametrize("spoil", TOKENS.values(), ids=TOKENS.keys())
def test_what_is_no_token_stops_no_checkpoint(spoil: Spoil, hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Looked up first, and watched while the engine works: the run is frozen, and comes back when its wait ends."""
    waiting = a_run()
    hand.wait_for_task(waiting, delay_ms=0)
    run(hand.at.redis, spoil(hand.at.keys.token(waiting.id)))

    assert hand.checkpoint_worker() == [Taken.ACCEPTED]

    assert waiting.stands
    hand.complete(waiting)
    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert hand.continuation().mode is Mode.RESTORED
    assert waiting.goes_on()
