"""Redis restarted under load: the workers go on by themselves, all is handled, nothing twice."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_until

from shared.settings import Settings
from tests.faults.storm import Storm, a_storm

RUNS, WAITS = 12, 12


@pytest.fixture
def storm(settings: Settings, tmp_path: Path) -> Iterator[Storm]:
    """A dozen runs in a system of the test's own."""
    with a_storm(settings, tmp_path, runs=RUNS) as one:
        yield one


@pytest.mark.chaos
def test_redis_is_killed_and_started_under_load(storm: Storm, tmp_path: Path) -> None:
    """With what it had written down, and without: both drains go on, every wait is continued once."""
    storm.begin(waits=WAITS)

    for part, keeps_data in enumerate((True, False), start=1):
        enough = RUNS * WAITS * part // 4
        wait_until(lambda enough=enough: storm.runs.gone_on() >= enough or storm.runs.problems)
        storm.servers.redis.kill()
        if not keeps_data:
            shutil.rmtree(tmp_path / "servers/redis/appendonlydir")
        storm.servers.redis.start()
        storm.servers.redis.wait_ready()

    storm.judge()
    assert storm.runs.gone_on() == RUNS * WAITS
    assert storm.workers.starts() == 3
