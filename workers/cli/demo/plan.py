"""What the runs of a demo do: seeded, so that two demos of one size do the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

Kind = Literal["task", "time"]

DELAY_MS: Final = 700
# In own servers a time wait that ends sooner gets no checkpoint.
THRESHOLD_MS: Final = 1_000
_SEED: Final = 1
# Of 12 tasks 8 end within the delay, 2 around it, 2 long after; in milliseconds from the start of the task.
_TASKS: Final = (*((30, 520),) * 8, *((720, 860),) * 2, *((1_200, 2_400),) * 2)
# Every second time is too short to be worth a checkpoint.
_TIMES: Final = ((300, 600), (1_200, 1_800))
_TIME_EVERY: Final = 4


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait of a run: for what, and how long that takes."""

    kind: Kind
    milliseconds: int


def plan(runs: int) -> list[tuple[Wait, Wait]]:
    """Return the two waits of each run: for a task, then for another or, in every fourth run, for a time."""
    random = Random(_SEED)  # noqa: S311 - repeatable, no secret
    tasks, times = _waits("task", _TASKS, random), _waits("time", _TIMES, random)
    return [(next(tasks), next(times if number % _TIME_EVERY == 0 else tasks)) for number in range(1, runs + 1)]


def _waits(kind: Kind, ranges: tuple[tuple[int, int], ...], random: Random) -> Iterator[Wait]:
    while True:
        # Each round has every range as often as it stands there, so that small demos have their share too.
        for low, high in random.sample(ranges, len(ranges)):
            yield Wait(kind, random.randint(low, high))
