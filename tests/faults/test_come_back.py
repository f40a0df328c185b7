"""What a killed worker held comes back within 15 seconds, with the usual settings. That is a promise."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from runs import Run
from system import System
from upstream import Upstream, a_completion, a_wait
from waiting import wait_until

from shared.client import Checkpoints
from shared.connections import Connections
from shared.settings import Settings
from workers.cli.kinds import WorkerKind
from workers.drain import EXIT_BROKEN
from workers.node.node import Node

PROMISED_SECONDS: Final = 15
RUNS = 5
MESSAGES = 20
# Of these a worker's death is made up for: with a test's own short ones the promise would be an easy one.
USUAL = (
    "sweep_period_ms",
    "take_grace_ms",
    "resend_first_ms",
    "resend_max_ms",
    "agent_period_ms",
    "node_silent_ms",
    "retry_base_ms",
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The usual settings, but for where things are."""
    return settings.model_copy(update={name: Settings.model_fields[name].default for name in USUAL})


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """What the engine's command waits for."""
    return tmp_path / "gate"


@pytest.fixture
def gated(settings: Settings, gate: Path, tmp_path: Path) -> Iterator[System]:
    """Workers whose engine's command waits until the gate is open."""
    command = ["sh", "-c", f"until [ -e {gate} ]; do sleep 0.02; done"]
    one = System(settings.model_copy(update={"simulate_command": command}), tmp_path / "logs")
    yield one
    gate.touch()
    one.kill_all()


@contextmanager
def nobody_writes(settings: Settings) -> Generator[Callable[[], bool]]:
    """Hold the table of waits, so that a drain stands in the middle of its batch; gives whether one does."""
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    url = settings.database_url.get_secret_value()
    with psycopg.connect(url) as conn, psycopg.connect(url, autocommit=True) as other:
        conn.execute("LOCK TABLE dependency IN EXCLUSIVE MODE")
        yield lambda: other.execute(query + " AND application_name LIKE 'checkpoints drain%'").fetchone() is not None


def kill_first(system: System, kind: WorkerKind) -> None:
    """Kill -9 the worker of a kind that was started first."""
    first = system.processes(kind)[0]
    first.kill()
    first.wait()


@pytest.mark.parametrize("another_runs", [pytest.param(True, marks=pytest.mark.chaos), False])
def test_completions_that_a_killed_worker_had_taken(
    another_runs: bool,  # noqa: FBT001  # the parameter of the test
    system: System,
    settings: Settings,
    upstream: Upstream,
    connections: Connections,
    a_run: Callable[[], Run],
) -> None:
    """Killed in the middle of a batch: another resume worker has it, or the next one that starts."""
    run = a_run()
    ids = [f"{run.id}-{number}" for number in range(MESSAGES)]
    upstream.client.defer_many([a_wait(one, run.workload, delay_ms=60_000) for one in ids])
    with Checkpoints(settings, uses_database=False) as elsewhere:
        elsewhere.complete_many([a_completion(one) for one in ids])

    with nobody_writes(settings) as is_in_a_batch:
        system.start(WorkerKind.RESUME)
        wait_until(is_in_a_batch)
        assert connections.redis.llen(connections.keys.queue("resumes")) == 0
        if another_runs:
            system.start(WorkerKind.RESUME)
        kill_first(system, WorkerKind.RESUME)
    if not another_runs:
        system.start(WorkerKind.RESUME)

    wait_until(lambda: all(upstream.heard[one, 1] for one in ids), seconds=PROMISED_SECONDS)
    assert {len(upstream.heard[one, 1]) for one in ids} == {1}


def test_registrations_that_a_killed_worker_had_taken(
    system: System, settings: Settings, node: Node, connections: Connections, a_run: Callable[[], Run]
) -> None:
    """Killed in the middle of a batch: the next checkpoint worker registers the waits, and takes what is due."""
    del node  # it was seen just now
    run = a_run()
    waits = [a_wait(f"{run.id}-{number}", run.workload, delay_ms=60_000) for number in range(MESSAGES)]
    with Checkpoints(settings, uses_database=False) as elsewhere:
        elsewhere.defer_many([*waits, a_wait(run.id, run.workload, delay_ms=0)])

    with nobody_writes(settings) as is_in_a_batch:
        system.start(WorkerKind.CHECKPOINT)
        wait_until(is_in_a_batch)
        assert connections.redis.llen(connections.keys.queue("deferrals")) == 0
        kill_first(system, WorkerKind.CHECKPOINT)
    system.start(WorkerKind.CHECKPOINT, WorkerKind.SWEEPER)

    wait_until(lambda: run.stands, seconds=PROMISED_SECONDS)
    assert system.rows("SELECT count(*) AS count FROM dependency") == [{"count": MESSAGES + 1}]


@pytest.mark.parametrize("delay_ms", [0, pytest.param(1_900, marks=pytest.mark.chaos)])
def test_takes_that_a_killed_worker_had_in_memory(
    delay_ms: int, gated: System, gate: Path, upstream: Upstream, connections: Connections, a_run: Callable[[], Run]
) -> None:
    """Killed while it waited for the engine, or for the last two seconds of a delay: others take the checkpoints."""
    gated.start()
    runs = [a_run() for _ in range(RUNS)]
    for run in runs:
        upstream.wait_for_task(run, delay_ms=delay_ms)
    unacknowledged = connections.keys.queue("unacked")
    wait_until(lambda: connections.redis.hlen(unacknowledged) == RUNS)
    if delay_ms == 0:
        wait_until(lambda: all(run.stands for run in runs))

    kill_first(gated, WorkerKind.CHECKPOINT)
    # The engine's commands go on without their worker, and keep the locks of their runs until they end.
    gate.touch()
    gated.start(WorkerKind.CHECKPOINT)

    accepted = "SELECT id FROM checkpoint WHERE status = 'accepted' AND freed_at IS NOT NULL"
    wait_until(lambda: len(gated.rows(accepted)) == RUNS, seconds=PROMISED_SECONDS)
    assert all(run.stands for run in runs)


def test_a_restore_whose_worker_was_killed(system: System, upstream: Upstream, a_run: Callable[[], Run]) -> None:
    """Killed with the claim of a restore: once its lease is over, another brings the run back."""
    system.start(WorkerKind.RESUME, WorkerKind.SWEEPER)
    system.start(WorkerKind.CHECKPOINT, FAIL_AT="restore.claimed:1")
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE status = 'accepted' AND freed_at IS NOT NULL"))
    upstream.complete(run)
    wait_until(lambda: system.processes(WorkerKind.CHECKPOINT)[0].poll() is not None)
    assert run.stands

    system.start(WorkerKind.CHECKPOINT)

    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE status = 'restored'"), seconds=PROMISED_SECONDS)
    assert upstream.continuation(run).mode == "restored"
    assert run.goes_on()


@pytest.mark.chaos
def test_a_drain_that_breaks_ends_its_worker_and_keeps_its_messages(
    system: System, settings: Settings, connections: Connections
) -> None:
    """What is no fault of a message or of the moment ends the worker, where it is seen; the next one has the batch."""
    system.start(WorkerKind.RESUME)

    # As if somebody had restored half a schema: refused messages cannot be kept.
    change(settings, "ALTER TABLE rejection RENAME TO elsewhere")
    connections.redis.lpush(connections.keys.queue("resumes"), b"not JSON")
    (process,) = system.processes(WorkerKind.RESUME)
    assert wait_until(lambda: process.poll() is not None) is True
    assert process.returncode == EXIT_BROKEN

    change(settings, "ALTER TABLE elsewhere RENAME TO rejection")
    system.start(WorkerKind.RESUME)
    wait_until(lambda: system.rows("SELECT id FROM rejection WHERE queue = 'resumes'"), seconds=PROMISED_SECONDS)


@pytest.mark.chaos
def test_a_function_that_is_missing_costs_no_message(
    system: System, settings: Settings, upstream: Upstream, a_run: Callable[[], Run]
) -> None:
    """Workers that are newer than the schema end, and are started again; what they had taken is not set aside."""
    system.start(WorkerKind.CHECKPOINT, WorkerKind.RESUME)
    run = a_run()
    upstream.wait_for_task(run)
    change(settings, "ALTER FUNCTION record_completions(jsonb, text) RENAME TO elsewhere")
    (process,) = system.processes(WorkerKind.RESUME)

    with Checkpoints(settings, uses_database=False) as broker_alone:
        broker_alone.complete(a_completion(run.id))
    assert wait_until(lambda: process.poll() is not None) is True
    assert process.returncode == EXIT_BROKEN

    change(settings, "ALTER FUNCTION elsewhere(jsonb, text) RENAME TO record_completions")
    system.start(WorkerKind.RESUME)
    assert upstream.continuation(run).mode == "live"
    assert system.rows("SELECT id FROM rejection") == []


def change(settings: Settings, statement: str) -> Any:
    """Change the test's database."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as conn:
        return conn.execute(statement.encode())
