"""An outage is told at once, then with growing gaps, and once more when it is over."""

from shared.telemetry.outage import LONGEST_SECONDS, Outage


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the moment."""
        return self.now


def told_at(outage: Outage, clock: Clock, *, seconds: int) -> list[float]:
    """Try in vain five times a second; return when that was told, in seconds from the beginning."""
    began, told = clock.now, list[float]()
    for _ in range(seconds * 5):
        if outage.goes_on():
            told.append(round(clock.now - began))
        clock.now += 0.2
    return told


def test_it_is_told_at_once_and_then_with_growing_gaps() -> None:
    """Five tries a second for half an hour are a dozen lines, not 9,000; the gaps end growing at five minutes."""
    clock = Clock()

    told = told_at(Outage(clock), clock, seconds=1_800)

    assert told == [0, 5, 15, 35, 75, 155, 315, 615, 915, 1215, 1515]
    assert told[-1] - told[-2] == LONGEST_SECONDS


def test_its_end_is_told_once_with_how_long_it_was() -> None:
    """What went well without an outage before it is no news."""
    clock = Clock()
    outage = Outage(clock)
    assert outage.ended() is None

    told_at(outage, clock, seconds=10)

    assert outage.seconds == 10.0
    assert outage.ended() == 10.0
    assert outage.ended() is None
    assert outage.seconds == 0.0


def test_the_next_one_is_told_at_once_again() -> None:
    """With gaps that begin small again."""
    clock = Clock()
    outage = Outage(clock)
    told_at(outage, clock, seconds=100)
    outage.ended()

    assert told_at(outage, clock, seconds=20) == [0, 5, 15]
