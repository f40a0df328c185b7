"""What the runs of a demo do: seeded, so that two demos of one size do the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

Kind = Literal["task", "time"]

DELAY_MS: Final = 700
# In own servers a time wait that ends sooner gets no checkpoint.
THRESHOLD_MS: Final = 1_000
_SEED: Final = 1
_TIME_EVERY: Final = 4


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait of a run: for what, and how long that takes; a task may end earlier, when its run is being frozen."""

    kind: Kind
    milliseconds: int
    ends_at_freeze: bool = False


@dataclass(frozen=True, slots=True)
class _Span:
    """Waits of some length, in milliseconds from the start of a task or the beginning of a time."""

    low: int
    high: int
    ends_at_freeze: bool = False


# Of 12 tasks 8 end within the delay, 2 while a checkpoint is being taken, 2 long after.
_TASKS: Final = (*(_Span(30, 450),) * 8, *(_Span(9_000, 9_000, ends_at_freeze=True),) * 2, *(_Span(2_500, 4_000),) * 2)
# Every second time is too short to be worth a checkpoint.
_TIMES: Final = (_Span(300, 600), _Span(2_000, 3_000))


def plan(runs: int) -> list[tuple[Wait, Wait]]:
    """Return the two waits of each run: for a task, then for another or, in every fourth run, for a time."""
    random = Random(_SEED)  # noqa: S311 - repeatable, no secret
    tasks, times = _waits("task", _TASKS, random), _waits("time", _TIMES, random)
    return [(next(tasks), next(times if number % _TIME_EVERY == 0 else tasks)) for number in range(1, runs + 1)]


def _waits(kind: Kind, spans: Sequence[_Span], random: Random) -> Iterator[Wait]:
    while True:
        # Each round has every span as often as it stands there, so that small demos have their share too.
        for span in random.sample(spans, len(spans)):
            yield Wait(kind, random.randint(span.low, span.high), span.ends_at_freeze)
