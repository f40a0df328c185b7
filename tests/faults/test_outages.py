"""Servers fail while every kind of worker holds messages: nothing is lost or doubled, no worker ends, all goes on."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest
from waiting import wait_until

from shared.settings import Settings
from tests.faults.outages import OF_POSTGRES, OF_REDIS, SILENCE, Outage
from tests.faults.storm import Storm, a_storm
from tests.faults.test_come_back import USUAL

RUNS = 12
KINDS = 3
SHORT_SECONDS = 2.0
LONG_SECONDS = 30.0
LATE_SECONDS = 60.0

log = logging.getLogger(__name__)


@pytest.fixture
def storm(settings: Settings, tmp_path: Path) -> Iterator[Storm]:
    """A dozen runs that wait again and again, in a system of the test's own whose ways can be cut."""
    with a_storm(settings, tmp_path, runs=RUNS, is_far=True) as one:
        yield one


@pytest.fixture
def usual_storm(settings: Settings, tmp_path: Path) -> Iterator[Storm]:
    """The same with the usual settings."""
    usual = settings.model_copy(update={name: Settings.model_fields[name].default for name in USUAL})
    with a_storm(usual, tmp_path, runs=RUNS, is_far=True) as one:
        yield one


def suffer(storm: Storm, *outages: Outage, seconds: float) -> float:
    """Have outages happen at once, until every run has gone on after them; return when they were over."""
    with ExitStack() as stack:
        for outage in outages:
            stack.enter_context(outage(storm))
        Event().wait(seconds)
    over_at = time.monotonic()
    wait_until(
        lambda: (
            all(any(at > over_at for at in list(life.went_on_at.values())) for life in storm.runs.lives)
            or storm.runs.problems
        ),
        seconds=LATE_SECONDS,
    )
    return over_at


@pytest.mark.parametrize(
    "outages",
    [
        pytest.param([[one] for one in OF_REDIS], id="redis", marks=pytest.mark.chaos),
        pytest.param([[one] for one in OF_POSTGRES], id="postgres"),
        # Most of a minute is waited for connections to be given up.
        pytest.param([SILENCE], id="silence", marks=pytest.mark.chaos),
    ],
)
def test_short_outages(outages: Sequence[Sequence[Outage]], storm: Storm) -> None:
    """One after the other, both ways at once for silence: every run goes on after each, by the same workers."""
    storm.begin(waits=10**6)
    wait_until(lambda: storm.runs.gone_on() > RUNS)

    for at_once in outages:
        suffer(storm, *at_once, seconds=SHORT_SECONDS)
    storm.runs.enough()

    storm.judge()
    assert storm.workers.starts() == KINDS


@pytest.mark.chaos
@pytest.mark.timeout(400)
@pytest.mark.parametrize("outage", [*OF_REDIS, *OF_POSTGRES, *SILENCE], ids=lambda one: one.__name__)
def test_a_long_outage(outage: Outage, usual_storm: Storm) -> None:
    """Half a minute, with the usual settings; the log says how late what was late came."""
    storm = usual_storm
    storm.begin(waits=10**6)
    wait_until(lambda: storm.runs.gone_on() > RUNS)

    over_at = suffer(storm, outage, seconds=float(os.environ.get("OUTAGE_SECONDS", LONG_SECONDS)))
    storm.runs.enough()

    storm.judge()
    late = storm.runs.late_since(over_at)
    log.warning(
        "%s: workers ended %d, late in seconds: median %.1f, worst %.1f",
        outage.__name__,
        storm.workers.starts() - KINDS,
        late[len(late) // 2],
        late[-1],
    )
    assert storm.workers.starts() == KINDS
