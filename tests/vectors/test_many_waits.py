"""Many waits at once, most of which end in their delay: the engine works for the others alone."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from redis import Redis
from system import System
from upstream import Upstream, a_completion, a_wait
from waiting import wait_until

from shared.broker import Keys, run
from shared.client import Defer, Workload
from shared.vocabulary import EngineName, Mode
from workers.engines.processes import PROC, Process, is_stopped, read_stat

WAITS, OUTLIVING = 1_000, 100
DELAY_MS = 5_000
NOBODY = 2**31 - 1  # no process has this pid: these waits end before anything could touch one
SETTLED = """
    SELECT count(*) FILTER (WHERE c.id IS NULL) AS ended_in_delay,
           count(*) FILTER (WHERE c.status = 'restored' AND c.epoch = 2) AS restored,
           count(*) FILTER (WHERE d.done_at IS NULL OR d.look_at IS NOT NULL OR c.look_at IS NOT NULL) AS pending
      FROM dependency d LEFT JOIN checkpoint c ON c.dependency_id = d.id
"""


@pytest.fixture
def engine_script() -> str:
    """Leave one line for each call of the engine."""
    return "echo call >> calls"


@pytest.fixture
def sleepers() -> Iterator[list[Process]]:
    """Cheap workloads: processes that sleep."""
    environment = {"CHECKPOINT_WORKLOAD": "1", "PATH": os.defpath}
    started = [subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True) for _ in range(OUTLIVING)]
    stats = [read_stat(PROC / str(one.pid)) for one in started]
    yield [Process(one.pid, stat.started_at_ticks) for one, stat in zip(started, stats, strict=True) if stat]
    for one in started:
        one.kill()
        one.wait()


def test_only_waits_that_outlive_their_delay_cost_an_engine_call(
    system: System,
    upstream: Upstream,
    redis_client: Redis,
    keys: Keys,
    sleepers: list[Process],
    engine_folder: Path,
) -> None:
    """Vector 50: nine in ten of a thousand waits end in the delay: an engine call for each of the others, none left."""
    node = system.settings.node
    waits = [a_wait(f"outliving-{it.pid}", workload_of(it, node), delay_ms=DELAY_MS) for it in sleepers]
    untouched = workload_of(Process(NOBODY, 1), node)
    waits += [a_wait(f"ending-{number}", untouched, delay_ms=DELAY_MS) for number in range(WAITS - OUTLIVING)]
    outliving, ending = waits[:OUTLIVING], waits[OUTLIVING:]
    system.start()

    upstream.client.defer_many(Random(50).sample(waits, WAITS))
    upstream.client.complete_many([a_completion(wait.run_id) for wait in ending])

    wait_until(lambda: modes(upstream, ending) == {Mode.LIVE: len(ending)}, seconds=60)
    wait_until(
        lambda: len(system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL")) == OUTLIVING, seconds=60
    )
    upstream.client.complete_many([a_completion(wait.run_id) for wait in outliving])
    wait_until(lambda: modes(upstream, outliving) == {Mode.RESTORED: OUTLIVING}, seconds=60)

    assert (engine_folder / "calls").read_text().splitlines() == ["call"] * OUTLIVING
    wait_until(lambda: system.rows(SETTLED) == [{"ended_in_delay": len(ending), "restored": OUTLIVING, "pending": 0}])
    (held,) = run(redis_client, ("ZCARD", keys.held_due))
    assert held == 0
    assert not [it for it in sleepers if is_stopped(it)]


def workload_of(process: Process, node: str) -> Workload:
    """Return a process as an upstream names it."""
    return Workload(EngineName.SIMULATE, node, pid=process.pid, started_at_ticks=process.started_at_ticks)


def modes(upstream: Upstream, waits: list[Defer]) -> Counter[Mode]:
    """Count how the runs of these waits go on, each by the first continuation that it heard."""
    heard = [upstream.heard[wait.run_id, wait.wait_number] for wait in waits]
    return Counter(continuations[0].mode for continuations in heard if continuations)
