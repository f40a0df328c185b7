"""The node's agent: it says that the node lives, and makes what stands still here what Postgres says."""

import gc
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from bad_defers import good
from runs import Run
from sql_door import SqlDoor
from waiting import wait_until

from shared.connections import Connections
from shared.db import checkpoints, restores
from shared.messages import Take
from workers.checkpoint.take import Taken, take
from workers.engines.simulate import Simulate
from workers.node.agent import Agent, be_seen, settle_what_stands
from workers.node.lock import NodeLock, node_lock
from workers.node.node import Node

StartRun = Callable[[], Run]


def a_wait(door: SqlDoor, run: Run) -> str:
    """Register that a run waits; return its dependency."""
    wait = good(run_id=run.id, workload=run.workload.to_json(), delay_ms=0)
    door.defer(wait)
    return wait["dependency"]["id"]


def freeze(node: Node, run: Run) -> None:
    """Freeze a run as a worker does that dies right after."""
    with node.lock(run.id) as lock:
        assert isinstance(lock, NodeLock)
        Simulate((), seconds=10).freeze(run.workload, lock=lock, stop=Event())
    assert run.stands


def claim(door: SqlDoor, node: Node, name: str, run: Run) -> None:
    """Claim a wait's checkpoint as that worker did."""
    assert checkpoints.claim(door.conn, name, run_id=run.id, node=node.name, grace=timedelta(seconds=5))


def test_what_a_dead_worker_left_standing_is_thawed(node: Node, door: SqlDoor, a_run: StartRun) -> None:
    """No checkpoint was accepted: the run lives on, without any message."""
    run = a_run()
    claim(door, node, a_wait(door, run), run)
    freeze(node, run)

    assert settle_what_stands(node) == 1

    assert run.goes_on()


def test_an_accepted_run_is_left_standing(node: Node, door: SqlDoor, a_run: StartRun) -> None:
    """The engine simulate lets it go only with its restore, or when its run is over."""
    run = a_run()
    name = a_wait(door, run)
    assert take(node, Take(v=1, dependency_id=name, run_id=run.id, wait_number=1)) is Taken.ACCEPTED

    settle_what_stands(node)
    assert run.stands

    door.cancel(run.id, "RUN_CANCELLED")
    settle_what_stands(node)
    assert run.goes_on()


def test_a_run_that_another_works_on_is_left_to_it(node: Node, door: SqlDoor, a_run: StartRun) -> None:
    """Who holds the lock knows better; the next turn looks again."""
    run = a_run()
    claim(door, node, a_wait(door, run), run)
    freeze(node, run)

    with node_lock(node.connections.settings.lock_folder, run.id):
        settle_what_stands(node)
        assert run.stands

    settle_what_stands(node)
    assert run.goes_on()


def test_a_process_that_was_never_ours_is_not_touched(node: Node, a_run: StartRun) -> None:
    """A workload that somebody else stopped has no row: it stands until they let it go."""
    run = a_run()
    freeze(node, run)

    assert settle_what_stands(node) == 0

    assert run.stands


def test_a_node_that_appears_wakes_its_waits(node: Node, door: SqlDoor, a_run: StartRun) -> None:
    """What waited for the node is looked at now; a node that is here already wakes nothing."""
    door.conn.execute("DELETE FROM node WHERE name = %s", [node.name])
    run = a_run()
    name = a_wait(door, run)
    door.conn.execute("UPDATE dependency SET look_at = now() + interval '1 hour' WHERE id = %s", [name])

    be_seen(node)
    assert _is_due(door, name)

    door.conn.execute("UPDATE dependency SET look_at = now() + interval '1 hour' WHERE id = %s", [name])
    be_seen(node)
    assert not _is_due(door, name)


def _is_due(door: SqlDoor, name: str) -> bool:
    query = "SELECT FROM dependency WHERE id = %s AND look_at <= now()"
    return door.conn.execute(query, [name]).rowcount == 1


@pytest.mark.parametrize("engines", [["simulate"], ["docker"]])
def test_a_node_that_offers_other_engines_wakes_its_waits(
    engines: list[str], node: Node, door: SqlDoor, a_run: StartRun
) -> None:
    """An engine that is new here may be what a wait was missing."""
    door.conn.execute("UPDATE node SET engines = %s WHERE name = %s", [engines, node.name])
    name = a_wait(door, a_run())
    door.conn.execute("UPDATE dependency SET look_at = now() + interval '1 hour' WHERE id = %s", [name])

    be_seen(node)

    assert _is_due(door, name) == (engines != ["simulate"])


def test_a_restored_run_that_was_permitted_and_is_still_held_is_let_go(
    node: Node, door: SqlDoor, a_run: StartRun
) -> None:
    """A worker died between the permit and the thaw; what it restored has another identity than what was frozen."""
    frozen, restored, unpermitted = a_run(), a_run(), a_run()
    name = a_wait(door, frozen)
    assert take(node, Take(v=1, dependency_id=name, run_id=frozen.id, wait_number=1)) is Taken.ACCEPTED
    door.resume(name)
    claim = restores.claim_restore(door.conn, name, run_id=frozen.id, node=node.name, lease=timedelta(seconds=5))
    assert claim is not None
    for run in (restored, unpermitted):
        freeze(node, run)
    assert restores.permit(
        door.conn, claim, workload=restored.workload.to_json(), phases={}, grace=timedelta(seconds=5)
    )

    settle_what_stands(node)

    assert restored.goes_on()
    assert unpermitted.stands


def test_a_node_says_which_engine_does_not_work_on_it_and_does_not_offer_it(
    connections: Connections, tmp_path: Path, door: SqlDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    """What waits for that engine is answered with it, and looked at again once the node offers it."""
    settings = connections.settings.model_copy(
        update={"engines": "process,simulate,cri", "criu_path": str(tmp_path / "nowhere")}
    )
    node = Node(replace(connections, settings=settings))

    be_seen(node)

    assert door.conn.execute("SELECT engines FROM node WHERE name = %s", [node.name]).fetchone() == (["simulate"],)
    said = capsys.readouterr().out
    assert "make criu" in said
    assert "the engine cri needs a registry" in said


# The client of Docker leaves the socket of a connection that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_whose_daemon_is_away_holds_up_no_other(
    node: Node, door: SqlDoor, a_run: StartRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container daemon that restarts: what the other engines left is settled meanwhile, and the agent lives."""
    run = a_run()
    claim(door, node, a_wait(door, run), run)
    freeze(node, run)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    both = node.connections.settings.model_copy(update={"engines": "docker,simulate"})

    assert settle_what_stands(Node(replace(node.connections, settings=both))) == 1

    assert run.goes_on()
    gc.collect()


def test_it_removes_old_files_of_the_work_folder(node: Node) -> None:
    """What a machine that lost its power left there, and no row names."""
    old = node.connections.settings.work_folder / "17-1"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    agent = Agent(node)
    agent.start()

    try:
        wait_until(lambda: not old.exists())
    finally:
        agent.stop()
