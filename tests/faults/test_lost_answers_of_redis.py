"""An answer that is lost on the way: the server did what was asked, and nobody was told."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from runs import Run
from system import System
from upstream import Upstream, a_completion
from waiting import wait_until

from shared.client import Checkpoints
from shared.settings import Settings
from tests.faults.losing_proxy import LosingProxy
from workers.cli.kinds import WorkerKind


@pytest.fixture
def way_to_redis(settings: Settings) -> Iterator[LosingProxy]:
    """A way to the test's Redis that may lose an answer."""
    proxy = LosingProxy(settings.broker_url.get_secret_value())
    yield proxy
    proxy.close()


@pytest.fixture
def far_system(settings: Settings, way_to_redis: LosingProxy, tmp_path: Path) -> Iterator[System]:
    """Workers that reach Redis on that way."""
    one = System(settings.model_copy(update={"broker_url": SecretStr(way_to_redis.url)}), tmp_path / "logs")
    yield one
    one.kill_all()


def test_a_completion_whose_hand_over_was_lost_is_not_lost(
    far_system: System, way_to_redis: LosingProxy, upstream: Upstream, settings: Settings, a_run: Callable[[], Run]
) -> None:
    """Redis moves a message to a worker, the answer is lost: the worker takes it again rather than acknowledge it."""
    run = a_run()
    upstream.wait_for_task(run, delay_ms=60_000)
    far_system.start(WorkerKind.RESUME)

    way_to_redis.lose_answer(containing=b"dependency.complete")
    with Checkpoints(settings, uses_database=False) as elsewhere:
        elsewhere.complete(a_completion(run.id))
    wait_until(way_to_redis.has_lost.is_set)

    assert upstream.continuation(run)
