"""In the middle of many waits everything that may die does: afterwards each wait was continued exactly once."""

import logging
import os
import time
from pathlib import Path
from random import Random

import pytest
from criu import stored_in, why_not_criu, with_criu
from waiting import wait_until

from shared.settings import Settings
from tests.faults.nemeses import Nemeses
from tests.faults.storm import Storm, a_storm

RUNS, WAITS = 30, 10
FREEZABLE_RUNS, FREEZABLE_WAITS = 8, 20

log = logging.getLogger(__name__)


def nemeses_of(storm: Storm, random: Random) -> Nemeses:
    """Return what may go wrong."""
    return Nemeses(storm.settings, storm.servers, storm.workers, ways=storm.ways, random=random)


def test_300_waits_survive_whatever_dies(settings: Settings, tmp_path: Path) -> None:
    """Kills -9 of each worker, Redis emptied, Postgres stopped at once, each twice: 300 continuations, none twice."""
    with a_storm(settings, tmp_path, runs=RUNS) as storm:
        nemeses = nemeses_of(storm, Random(storm.seed))
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
@pytest.mark.timeout(600)
def test_runs_that_are_really_frozen_away_survive_whatever_dies(settings: Settings, tmp_path: Path) -> None:
    """The same with CRIU, whose frozen runs are images: each goes on in its order, and no image is left."""
    if (why := why_not_criu()) is not None:
        pytest.skip(f"the engine process does not work here: {why}")
    folder = tmp_path / "criu"
    folder.mkdir()
    with a_storm(with_criu(settings, folder), tmp_path, runs=FREEZABLE_RUNS) as storm:
        nemeses = nemeses_of(storm, Random(storm.seed))
        storm.begin(waits=FREEZABLE_WAITS)

        strikes = [*nemeses.plain, *reversed(nemeses.plain)] * 2
        for number, strike in enumerate(strikes, start=1):
            went_on(storm, number * FREEZABLE_RUNS * FREEZABLE_WAITS // (len(strikes) + 2))
            strike()

        storm.judge()
        assert storm.runs.platform.modes["restored"] > FREEZABLE_RUNS
        wait_until(lambda: stored_in(storm.settings) == [])
        log.info("%s; %s", storm.figures(), dict(nemeses.count))


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("is_rough", [False, True], ids=["plain", "rough"])
def test_a_long_storm(is_rough: bool, settings: Settings, tmp_path: Path) -> None:  # noqa: FBT001  # a parameter
    """Ten minutes of everything at random, with two workers of a kind, stopped ones and cut connections besides."""
    with a_storm(settings, tmp_path, runs=RUNS, is_rough=is_rough) as storm:
        random = Random(storm.seed)
        nemeses = nemeses_of(storm, random)
        strikes = [*nemeses.all, *[nemeses.lose_answers] * is_rough]
        nemeses.away_seconds = (0.0, 0.0, 1.0, 5.0)
        storm.begin(waits=10**6, workers=2)

        ends_at = time.monotonic() + float(os.environ.get("CHAOS_SECONDS", "600"))
        while time.monotonic() < ends_at and not storm.runs.problems:
            random.choice(strikes)()
            # Often at once: what makes up for one fault has to stand another.
            went_on(storm, storm.runs.gone_on() + random.choice((0, 0, random.randrange(1, 60))))
        nemeses.calm()
        storm.runs.enough()

        storm.judge()
        assert len(nemeses.count) == len(set(strikes))
        log.info("%s; %s", storm.figures(), dict(nemeses.count))


def went_on(storm: Storm, count: int) -> None:
    """Wait until so many waits were gone on from, or something is wrong."""
    wait_until(lambda: storm.runs.gone_on() >= count or storm.runs.problems, seconds=60)
