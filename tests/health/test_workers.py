"""The health of real workers: what their loops do, not whether a process exists, is what is told."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from bad_completions import completion
from letterbox import Letterbox
from servers import Servers
from system import ALL, System
from waiting import wait_until

from shared.broker import Keys, connect, run
from shared.connections import Connections
from shared.queues import RESUMES
from shared.settings import Settings
from tests.health.conftest import AskHealth
from workers.cli.kinds import WorkerKind

LIMIT_MS = 1_500


@pytest.fixture
def own_system(on_own_servers: Settings, tmp_path: Path) -> Iterator[System]:
    """Workers on servers of the test's own."""
    one = System(on_own_servers, tmp_path / "logs")
    yield one
    one.kill_all()


def test_workers_that_work_are_ready(system: System, ask: AskHealth) -> None:
    """Each kind, in a file of its own; one that was asked to end leaves none."""
    system.start()

    for kind in ALL:
        wait_until(lambda kind=kind: ask(kind, "--ready").code == 0)
        [worker] = ask(kind).told["workers"]
        assert (worker["alive"], worker["ready"], worker["problems"]) == (True, True, [])
    system.stop(WorkerKind.SWEEPER)

    assert list(system.settings.health_folder.glob("sweeper.*")) == []
    assert ask(WorkerKind.SWEEPER).problems.startswith("missing: no sweeper worker has written a heartbeat")


def test_a_killed_worker_is_missing_at_once(system: System, ask: AskHealth) -> None:
    """Its file is still there and fresh, and nobody has asked how it ended; it is dead all the same."""
    system.start(WorkerKind.SWEEPER)
    [process] = system.processes(WorkerKind.SWEEPER)
    wait_until(lambda: ask(WorkerKind.SWEEPER).code == 0)

    process.send_signal(signal.SIGKILL)
    wait_until(lambda: ask(WorkerKind.SWEEPER).code == 1)

    assert len(list(system.settings.health_folder.glob("sweeper.*"))) == 1
    assert f"the last, process {process.pid}," in ask(WorkerKind.SWEEPER).problems


def test_all_living_workers_of_a_kind_have_to_be_well(system: System, ask: AskHealth) -> None:
    """A dead one beside a living one is no trouble; one that stands still is."""
    system.settings = system.settings.model_copy(update={"health_limit_ms": LIMIT_MS})
    system.start(WorkerKind.SWEEPER)
    system.start(WorkerKind.SWEEPER)
    dead, living = system.processes(WorkerKind.SWEEPER)
    wait_until(lambda: len(ask(WorkerKind.SWEEPER).told["workers"]) == 2)

    dead.send_signal(signal.SIGKILL)
    wait_until(lambda: [one["pid"] for one in ask(WorkerKind.SWEEPER).told["workers"]] == [living.pid])
    assert ask(WorkerKind.SWEEPER).code == 0

    living.send_signal(signal.SIGSTOP)
    wait_until(lambda: ask(WorkerKind.SWEEPER).code == 1, seconds=40)
    assert "stale for" in ask(WorkerKind.SWEEPER).problems


def test_without_postgres_workers_are_alive_and_not_ready(
    own_system: System, own_servers: Servers, ask: AskHealth
) -> None:
    """Also idle ones; they say which server is away, and are ready again when it is back."""
    own_system.start()

    own_servers.postgres.kill()

    for kind in ALL:
        wait_until(lambda kind=kind: "Postgres cannot be used for" in ask(kind).problems, seconds=30)
        assert (ask(kind).code, ask(kind, "--ready").code) == (0, 1)
    own_servers.postgres.start()
    own_servers.postgres.wait_ready()
    for kind in ALL:
        wait_until(lambda kind=kind: ask(kind, "--ready").code == 0, seconds=30)


def test_without_redis_workers_are_alive_and_not_ready(
    own_system: System, own_servers: Servers, ask: AskHealth
) -> None:
    """Also Celery's consumer, whose loop does not turn while it connects."""
    own_system.settings = own_system.settings.model_copy(update={"health_limit_ms": LIMIT_MS})
    own_system.start()

    own_servers.redis.kill()

    for kind in ALL:
        wait_until(lambda kind=kind: "Redis cannot be used for" in ask(kind).problems, seconds=30)
        assert (ask(kind).code, ask(kind, "--ready").code) == (0, 1)
    longer = re.compile(r"Celery's consumer: Redis cannot be used for ([3-9]|[0-9]{2,}) s")
    wait_until(lambda: longer.search(str(ask(WorkerKind.RESUME).problems)))
    assert ask(WorkerKind.RESUME).code == 0
    own_servers.redis.start()
    own_servers.redis.wait_ready()
    for kind in ALL:
        wait_until(lambda kind=kind: ask(kind, "--ready").code == 0, seconds=60)


def test_a_drain_that_stands_still_is_named(system: System, connections: Connections, ask: AskHealth) -> None:
    """The process answers and Celery's part turns, but no message goes through: that is not alive."""
    system.settings = system.settings.model_copy(update={"health_limit_ms": LIMIT_MS})
    system.start(WorkerKind.RESUME)
    wait_until(lambda: ask(WorkerKind.RESUME).code == 0)
    letterbox = Letterbox(connections.redis, Keys(system.settings.key_prefix))
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
    (its_server,) = wait_until(lambda: system.rows(query, "checkpoints drain resumes"))

    # A lock would not do: the drain waits for none for long.
    os.kill(its_server["pid"], signal.SIGSTOP)
    try:
        letterbox.put(RESUMES, "dependency.complete", completion())
        wait_until(lambda: ask(WorkerKind.RESUME).code == 1)
        found = ask(WorkerKind.RESUME)
        assert found.problems.startswith("the drain of resumes stands still for")
        assert "consumer" not in found.problems
    finally:
        os.kill(its_server["pid"], signal.SIGCONT)

    wait_until(lambda: ask(WorkerKind.RESUME, "--ready").code == 0)


def test_the_agent_and_the_sweeper_have_a_pulse_too(system: System, ask: AskHealth) -> None:
    """Each stands when its own turn does not end."""
    system.settings = system.settings.model_copy(update={"health_limit_ms": LIMIT_MS})
    system.start(WorkerKind.CHECKPOINT, WorkerKind.SWEEPER)

    with psycopg.connect(system.settings.database_url.get_secret_value()) as other:
        other.execute("LOCK TABLE node, dependency")
        wait_until(lambda: "the node's agent stands still for" in ask(WorkerKind.CHECKPOINT).problems)
        wait_until(lambda: "the sweeper stands still for" in ask(WorkerKind.SWEEPER).problems)
        assert (ask(WorkerKind.CHECKPOINT).code, ask(WorkerKind.SWEEPER).code) == (1, 1)

    wait_until(lambda: ask(WorkerKind.CHECKPOINT).code + ask(WorkerKind.SWEEPER).code == 0)


def test_celerys_consumer_has_a_pulse_too(own_system: System, ask: AskHealth) -> None:
    """A Redis that takes commands and answers none holds it up for longer than this limit."""
    own_system.settings = own_system.settings.model_copy(update={"health_limit_ms": LIMIT_MS})
    own_system.start(WorkerKind.RESUME)
    wait_until(lambda: ask(WorkerKind.RESUME).code == 0)

    with closing(connect(own_system.settings)) as client:
        run(client, ("CLIENT", "PAUSE", 60_000, "ALL"))
        wait_until(lambda: "Celery's consumer stands still for" in ask(WorkerKind.RESUME).problems)

    assert ask(WorkerKind.RESUME).code == 1
