"""In the middle of many waits everything that may die does: afterwards each wait was continued exactly once."""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from waiting import wait_until

from shared.settings import Settings
from tests.faults.nemeses import Nemeses
from tests.faults.storm import Storm, a_storm

RUNS, WAITS = 30, 10

log = logging.getLogger(__name__)


@pytest.fixture
def storm(settings: Settings, tmp_path: Path) -> Iterator[Storm]:
    """30 runs in a system of the test's own."""
    with a_storm(settings, tmp_path, runs=RUNS) as one:
        yield one


@pytest.fixture
def nemeses(storm: Storm) -> Nemeses:
    """What may go wrong."""
    return Nemeses(storm.settings, storm.servers, storm.workers, Random(storm.seed))


def test_300_waits_survive_whatever_dies(storm: Storm, nemeses: Nemeses) -> None:
    """Kills -9 of each worker, Redis emptied, Postgres stopped at once, each twice: 300 continuations, none twice."""
    storm.begin(waits=WAITS)

    two_rounds = [*nemeses.plain, *reversed(nemeses.plain)]
    for number, strike in enumerate(two_rounds, start=1):
        # Spread over the waits, so that each strikes in their middle.
        went_on(storm, number * RUNS * WAITS // (len(two_rounds) + 2))
        strike()

    storm.judge()
    assert storm.runs.gone_on() == RUNS * WAITS
    assert set(nemeses.count.values()) == {2}
    log.info("%s; %s", storm.figures(), dict(nemeses.count))


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
def test_a_long_storm(storm: Storm, nemeses: Nemeses) -> None:
    """Ten minutes of everything at random, with two workers of a kind, stopped ones and cut connections besides."""
    storm.begin(waits=10**6, workers=2)
    random = Random(storm.seed)

    ends_at = time.monotonic() + float(os.environ.get("CHAOS_SECONDS", "600"))
    while time.monotonic() < ends_at and not storm.runs.problems:
        random.choice(nemeses.all)()
        went_on(storm, storm.runs.gone_on() + random.randrange(0, 60))
    storm.runs.enough()

    storm.judge()
    assert len(nemeses.count) == len(nemeses.all)
    log.info("%s; %s", storm.figures(), dict(nemeses.count))


def went_on(storm: Storm, count: int) -> None:
    """Wait until so many waits were gone on from, or something is wrong."""
    wait_until(lambda: storm.runs.gone_on() >= count or storm.runs.problems, seconds=60)
