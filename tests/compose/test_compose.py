"""docker-compose.yml as its user meets it: it starts, works, is closed to strangers, heals, scales and stops."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import Run
from waiting import wait_until

from tests.compose.composed import NODE, SERVERS, WORKERS, Composed

# The first test waits for packages, images and the build.
pytestmark = [pytest.mark.compose, pytest.mark.timeout(1_800)]

HEAL_SECONDS = 90
LOOK = "id -u; touch /x 2>&1; grep -E 'CapBnd|NoNewPrivs' /proc/self/status"
MIGRATED_AT = "SELECT min(applied_at) FROM schema_migration"
# Numbers of DAC_READ_SEARCH, KILL and SYS_PTRACE.
CAN = {"checkpoint": (2, 5, 19)}


@pytest.fixture
def a_run(tmp_path: Path) -> Iterator[Run]:
    """A run on this machine, in no container."""
    run = Run(tmp_path / "run", node=NODE)
    yield run
    run.end()


def test_every_service_is_healthy_behind_a_migration(composed: Composed) -> None:
    """`up --wait` returns when each service says so itself; the migration ended well before the workers began."""
    found = {one.service: one for one in composed.containers()}

    assert set(found) == {*SERVERS, *WORKERS, "migrate"}
    assert {service: found[service].health for service in (*SERVERS, *WORKERS)} == dict.fromkeys(
        (*SERVERS, *WORKERS), "healthy"
    )
    assert found["migrate"].end == ("exited", 0)
    assert "the schema is up to date" in composed.call("run", "--rm", "--no-TTY", "migrate", "migrate", "--check")


def test_a_demos_runs_are_called_off_frozen_and_brought_back(composed: Composed) -> None:
    """Its processes are another user's in another container, and the checkpoint worker still reaches them."""
    assert_demo_succeeds(composed)


def test_flower_answers_nobody_without_the_password(composed: Composed) -> None:
    """Not its pages, not its API; and only this machine reaches it at all."""
    for path in ("/", "/workers?json=1", "/api/workers", "/broker"):
        assert [composed.flower(path, password=one)[0] for one in (None, "guessed")] == [401, 401]
    published = composed.container("flower").details["NetworkSettings"]["Ports"]["5555/tcp"]
    assert {one["HostIp"] for one in published} == {"127.0.0.1"}


def test_flower_lists_the_workers(composed: Composed) -> None:
    """With the password of the secret file."""
    wait_until(lambda: kinds(composed.workers_in_flower()) == ["checkpoint", "resume"])


def test_no_secret_is_in_sight(composed: Composed) -> None:
    """Neither in what the daemon tells of a container, nor in a command line on this machine."""
    texts = [(composed.secrets / name).read_text().strip() for name in ("postgres_password", "redis_password")]
    shown = json.dumps([one.details for one in composed.containers()]) + "".join(commands())

    for text in [*texts, composed.flower_password()]:
        assert text not in shown


@pytest.mark.parametrize("service", [*SERVERS, *WORKERS])
def test_a_service_has_only_the_rights_that_it_uses(composed: Composed, service: str) -> None:
    """No root but where a host's processes are signalled, no capability more, no file system to write into."""
    user, refusal, capabilities, no_new = composed.call("exec", "--no-TTY", service, "sh", "-c", LOOK).splitlines()

    assert (int(user) == 0) == (service == "checkpoint")
    assert "Read-only file system" in refusal
    assert int(capabilities.split()[1], 16) == sum(1 << bit for bit in CAN.get(service, ()))
    assert no_new.split()[1] == "1"
    limits = composed.container(service).details["HostConfig"]
    assert all(limits[name] for name in ("Memory", "NanoCpus", "PidsLimit"))
    assert limits["LogConfig"] == {"Type": "local", "Config": {"max-file": "3", "max-size": "10m"}}


@pytest.mark.parametrize("services", [WORKERS, SERVERS], ids=["workers", "servers"])
def test_what_is_killed_comes_back(composed: Composed, services: tuple[str, ...]) -> None:
    """All at once, with kill -9; then the system works as before, on the data that it had."""
    before = [composed.container(service) for service in services]
    migrated_at = composed.sql(MIGRATED_AT)

    for container in before:
        # Not by `docker kill`, which means that it shall stay dead.
        os.kill(container.pid, signal.SIGKILL)

    for container in before:
        wait_until(lambda it=container: is_back(composed, it.service, it.restarts), seconds=HEAL_SECONDS)
    assert {one.id for one in before} == {composed.container(service).id for service in services}
    assert composed.sql(MIGRATED_AT) == migrated_at
    assert_demo_succeeds(composed)


def test_what_is_stateless_scales(composed: Composed) -> None:
    """Two resume workers and two sweepers, each healthy, told apart in Flower, and the work is shared."""
    composed.up(scale={"resume": 2, "sweeper": 2})

    assert [one.health for one in composed.containers("resume", "sweeper")] == ["healthy"] * 4
    wait_until(lambda: kinds(composed.workers_in_flower()) == ["checkpoint", "resume", "resume"])
    assert_demo_succeeds(composed)


def test_a_stop_ends_what_is_in_hand_and_a_start_goes_on(composed: Composed, a_run: Run) -> None:
    """A run whose checkpoint is being stored is accepted before the worker ends, and comes back with the system.

    Nobody is killed for being slow; the volumes keep what is known; no process is left standing.
    """
    composed.up(STORE_SECONDS="3")
    defer(composed, a_run)
    wait_until(lambda: a_run.stands)

    composed.call("stop")
    ended = {one.service: one.end for one in composed.containers()}
    composed.call("down")
    composed.up()
    status = composed.sql("SELECT status FROM checkpoint ORDER BY id DESC LIMIT 1")
    complete(composed, a_run)

    assert ended == dict.fromkeys(ended, ("exited", 0))
    assert status == "accepted"
    wait_until(lambda: a_run.runs)
    assert a_run.goes_on()


def test_a_missing_secret_is_told_with_what_to_do(composed: Composed) -> None:
    """Before anything is started."""
    done = composed.run("config", SECRETS_FOLDER="")

    assert done.returncode != 0
    assert "first run make secrets" in done.stderr


def assert_demo_succeeds(composed: Composed) -> None:
    """Run the demo, which checks that each of its waits went on once and that nothing is left."""
    done = composed.run("run", "--rm", "--no-TTY", "demo", "demo", "--runs", "24", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    waits = summary["waits"]
    assert summary["problems"] == []
    assert waits["waits"] == 48
    assert waits["called_off"] > 0
    assert waits["restored"] == waits["frozen"] > 0


def is_back(composed: Composed, service: str, restarts: int) -> bool:
    """Return whether a service was started again by itself since, and is healthy."""
    container = composed.container(service)
    return container.restarts > restarts and container.health == "healthy"


def kinds(hostnames: list[str]) -> list[str]:
    """Return the kinds of some workers; their names are all different."""
    assert len(hostnames) == len(set(hostnames))
    return sorted(name.split(".")[0] for name in hostnames)


def commands() -> list[str]:
    """Return the command line of every process of this machine."""
    found: list[str] = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(one.read_text(errors="replace"))
        except OSError:
            continue  # it has ended meanwhile
    return found


def defer(composed: Composed, run: Run) -> None:
    """Register a wait whose checkpoint is taken at once."""
    wait = {
        "v": 1,
        "run_id": run.id,
        "attempt": 1,
        "wait_number": 1,
        "reason": "WAIT_FOR_TASK",
        "dependency": {"id": f"{run.id}/task"},
        "workload": run.workload.to_json(),
        "delay_ms": 0,
    }
    composed.sql(f"SELECT defer_checkpoint('{json.dumps(wait)}')")


def complete(composed: Composed, run: Run) -> None:
    """End the wait."""
    done = {"v": 1, "dependency_id": f"{run.id}/task", "outcome_type": "success"}
    composed.sql(f"SELECT complete_dependency('{json.dumps(done)}')")
