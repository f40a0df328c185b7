"""Frozen runs of a node that is gone are brought back on another: real workers of two nodes, real CRIU."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from criu import stored_in, why_not_criu, with_criu
from process_runs import CountingRun
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.settings import Settings
from shared.vocabulary import Mode, Unreached
from tests.engines.counting import session_members, session_states
from workers.cli.kinds import WorkerKind

StartRun = Callable[[], CountingRun]
FROZEN = "SELECT FROM checkpoint WHERE status = 'accepted' AND freed_at IS NOT NULL"
LEFT = "SELECT FROM checkpoint c WHERE has_duty(c) UNION ALL SELECT FROM left_on_node"


@pytest.fixture
def is_shared() -> bool:
    """Whether the nodes share their image store; a test where they do not says so."""
    return True


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, is_shared: bool) -> Settings:  # noqa: FBT001 - a fixture
    """Settings of a node with CRIU, soon found to be silent; skipped where CRIU does not work."""
    if (why := why_not_criu()) is not None:
        pytest.skip(f"the engine process does not work here: {why}")
    known = with_criu(settings, tmp_path)
    return known.model_copy(update={"node_silent_ms": 1_500, "image_store_shared": is_shared})


@pytest.fixture
def other(settings: Settings, tmp_path: Path) -> Iterator[System]:
    """The checkpoint workers of another node of the same system, not started yet; as if on a machine of its own."""
    folders = {name: tmp_path / "other" / name for name in ("work_folder", "lock_folder", "health_folder")}
    of_other = settings.model_copy(update={"node": f"other-{settings.node}", **folders})
    one = System(of_other, tmp_path / "other-logs")
    yield one
    one.kill_all()


@pytest.fixture
def a_counting_run(settings: Settings, tmp_path: Path) -> Iterator[StartRun]:
    """Start runs that count, in pid namespaces of their own: two nodes on one machine share all other pids."""
    runs: list[CountingRun] = []

    def start() -> CountingRun:
        runs.append(CountingRun(tmp_path / f"counting-{len(runs)}", node=settings.node, pids="own"))
        return runs[-1]

    yield start
    for run in runs:
        run.end()


def went_on_elsewhere(run: CountingRun, upstream: Upstream, other: System, number: int = 1) -> None:
    """Wait until a run was continued, and see that it goes on, once, on the other node."""
    heard = upstream.continuation(run, number)
    assert (heard.mode, heard.workload["node"]) == (Mode.RESTORED, other.settings.node)
    run.moved_to_node(other.settings.node)
    run.went_on(heard)
    assert len(upstream.heard[run.id, number]) == 1


def test_a_run_whose_node_is_gone_comes_back_on_another(
    system: System, other: System, upstream: Upstream, settings: Settings, a_counting_run: StartRun
) -> None:
    """Its next wait names the other node, is frozen there, and restored there."""
    system.start()
    run = a_counting_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows(FROZEN))
    system.kill(WorkerKind.CHECKPOINT)
    other.start(WorkerKind.CHECKPOINT)
    wait_until(lambda: not system.node_is_seen())

    upstream.complete(run)
    went_on_elsewhere(run, upstream, other)
    wait_until(lambda: not system.rows(LEFT))
    assert stored_in(settings) == []

    upstream.wait_for_task(run, 2, delay_ms=0)
    wait_until(lambda: system.rows(FROZEN))
    upstream.complete(run, 2)
    went_on_elsewhere(run, upstream, other, 2)


def test_a_run_whose_restore_is_asked_for_already_is_moved_when_its_node_falls_silent(
    system: System, other: System, upstream: Upstream, a_counting_run: StartRun
) -> None:
    """Its node died unseen: the request lies on a queue that nobody reads, and its repeat goes elsewhere."""
    system.start()
    other.start(WorkerKind.CHECKPOINT)
    run = a_counting_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows(FROZEN))
    system.kill(WorkerKind.CHECKPOINT)

    upstream.complete(run)

    went_on_elsewhere(run, upstream, other)


def test_the_old_process_of_a_run_that_was_moved_never_runs(
    system: System, other: System, upstream: Upstream, settings: Settings, a_counting_run: StartRun
) -> None:
    """Its worker died between the acceptance and the kill; when the node is back, its process is ended."""
    system.start(WorkerKind.CHECKPOINT, FAIL_AT="take.offered:1")
    system.start(WorkerKind.RESUME, WorkerKind.SWEEPER)
    run = a_counting_run()
    old = run.pid
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.processes(WorkerKind.CHECKPOINT)[0].poll() == -signal.SIGKILL)
    run.assert_stands()
    other.start(WorkerKind.CHECKPOINT)
    wait_until(lambda: not system.node_is_seen())

    upstream.complete(run)
    went_on_elsewhere(run, upstream, other)
    assert session_states(old) == {"T"}
    system.start(WorkerKind.CHECKPOINT)

    wait_until(lambda: not system.rows(LEFT))
    assert session_members(old) == []
    run.assert_runs()
    assert stored_in(settings) == []


def test_what_a_node_held_when_it_fell_silent_is_removed_when_it_is_back(
    system: System, other: System, upstream: Upstream, settings: Settings, a_counting_run: StartRun
) -> None:
    """Restored there and never permitted; meanwhile the run goes on elsewhere, and only there."""
    system.start()
    run = a_counting_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows(FROZEN))
    system.kill(WorkerKind.CHECKPOINT)
    system.start(WorkerKind.CHECKPOINT, FAIL_AT="restore.held:1")
    upstream.complete(run)
    wait_until(lambda: system.processes(WorkerKind.CHECKPOINT)[0].poll() == -signal.SIGKILL)
    (record,) = settings.work_folder.glob("*/restored.json")
    held = json.loads(record.read_text())["pid"]
    other.start(WorkerKind.CHECKPOINT)

    went_on_elsewhere(run, upstream, other)
    assert session_states(held) == {"T"}
    system.kill(WorkerKind.CHECKPOINT)
    system.start(WorkerKind.CHECKPOINT)

    wait_until(lambda: not system.rows(LEFT))
    assert session_members(held) == []
    run.assert_runs()


@pytest.mark.parametrize("is_shared", [False])
def test_an_image_that_only_its_node_has_waits_for_it(
    system: System, other: System, upstream: Upstream, a_counting_run: StartRun
) -> None:
    """Its upstream is told, and nothing is asked of the other node; then its node is back."""
    system.start()
    other.start(WorkerKind.CHECKPOINT)
    run = a_counting_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows(FROZEN))
    system.kill(WorkerKind.CHECKPOINT)
    wait_until(lambda: not system.node_is_seen())

    upstream.complete(run)
    told = wait_until(lambda: upstream.out_of_reach[run.id, 1])
    assert {(one.code, one.final) for one in told} == {(Unreached.NODE_SILENT, False)}
    assert not other.logged("restore.claimed")
    system.start(WorkerKind.CHECKPOINT)

    heard = upstream.continuation(run)
    assert heard.workload["node"] == system.settings.node
    run.went_on(heard)
