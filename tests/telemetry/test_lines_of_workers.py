"""What real workers log: JSON lines alone, each with its run, an outage told in few words, no password ever."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from letterbox import Letterbox
from own_servers import on, own_servers
from runs import Run
from servers import Servers
from system import ALL, System
from upstream import Upstream, dependency_id
from waiting import wait_until

from shared.broker import Keys
from shared.connections import Connections
from shared.queues import DEFERRALS, TaskName, checkpoints_queue
from shared.settings import Settings
from shared.task_ids import restore_id, take_id
from workers.cli.kinds import WorkerKind

StartRun = Callable[[], Run]


def lines(logs: Path, kind: WorkerKind) -> list[dict[str, Any]]:
    """Return what the workers of a kind have logged; every line has to be JSON."""
    texts = [path.read_text(encoding="utf-8") for path in logs.glob(f"{kind}-*.log")]
    # The last may be in the middle of being written.
    return [json.loads(line) for text in texts for line in text.rpartition("\n")[0].splitlines()]


def events(logs: Path, kind: WorkerKind, *names: str) -> list[dict[str, Any]]:
    """Return the lines of these events."""
    return [line for line in lines(logs, kind) if line["event"] in names]


def test_every_line_of_a_take_and_of_a_restore_says_which(
    system: System, upstream: Upstream, a_run: StartRun, tmp_path: Path
) -> None:
    """Its run, its wait, its attempt once it is claimed, its task and the id of the message."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL"))
    upstream.complete(run)
    upstream.continuation(run)
    logs = tmp_path / "logs"
    names = ("checkpoint.claimed", "checkpoint.accepted", "restore.claimed", "checkpoint.restored")
    said = wait_until(lambda: found if len(found := events(logs, WorkerKind.CHECKPOINT, *names)) == 4 else None)

    about = {"run_id": run.id, "attempt": 1, "wait_number": 1, "dependency_id": dependency_id(run.id, 1)}
    take = {"task": "checkpoint.take", "message_id": take_id(run.id, 1)}
    restore = {"task": "checkpoint.restore", "message_id": restore_id(run.id, 1, 2)}
    assert [{name: line[name] for name in about} for line in said] == [about] * 4
    assert [{name: line[name] for name in take} for line in said] == [take, take, restore, restore]
    assert all(line.get("run_id") == run.id for line in lines(logs, WorkerKind.CHECKPOINT) if "checkpoint_id" in line)


def test_a_refused_message_is_told_of_by_name(
    system: System, connections: Connections, keys: Keys, tmp_path: Path
) -> None:
    """Its id, its task, its run and dependency as far as they can be read, on the line that says why."""
    system.start(WorkerKind.CHECKPOINT)
    letterbox = Letterbox(connections.redis, keys)
    wait = {"v": 1, "run_id": "run-1", "dependency": {"id": "d-1"}}
    ids = letterbox.put(DEFERRALS, TaskName.DEFER, wait, wait)
    ids += letterbox.put(checkpoints_queue(system.settings.node), TaskName.TAKE, {"v": 1})

    logs = tmp_path / "logs"
    said = wait_until(lambda: found if len(found := refused(logs)) == 3 else None)

    assert {line["message_id"] for line in said} == {*ids}
    assert {(line["task"], line["queue"]) for line in said} == {
        ("checkpoint.defer", "deferrals"),
        ("checkpoint.take", f"checkpoints.{system.settings.node}"),
    }
    assert [(line["run_id"], line["dependency_id"]) for line in said if line["queue"] == DEFERRALS] == [
        ("run-1", "d-1")
    ] * 2
    assert all(line["code"] == "invalid-message" and line["problem"] for line in said)


def refused(logs: Path) -> list[dict[str, Any]]:
    """Return the lines about refused messages."""
    return events(logs, WorkerKind.CHECKPOINT, "message.refused")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Servers that the test may stop."""
    with own_servers(tmp_path / "servers") as pair:
        yield pair


def test_an_outage_is_told_in_few_words_and_so_is_its_end(servers: Servers, settings: Settings, tmp_path: Path) -> None:
    """From their start to their end workers write JSON lines alone, on standard error, and no password."""
    ours = on(servers, settings)
    system = System(ours, tmp_path / "logs")
    logs = tmp_path / "logs"
    try:
        system.start()
        servers.redis.stop()
        waits = ("drain.waiting", "server.waiting", "sweeper.waiting")
        wait_until(lambda: all(events(logs, kind, *waits) for kind in ALL))
        # Long enough for dozens of tries.
        wait_until(lambda: len(events(logs, WorkerKind.RESUME, "drain.waiting")) == 2)
        servers.redis.start()
        servers.redis.wait_ready()
        wait_until(lambda: events(logs, WorkerKind.RESUME, "drain.back"))
        servers.postgres.stop()
        wait_until(lambda: events(logs, WorkerKind.CHECKPOINT, "agent.waiting"))
        servers.postgres.start()
        servers.postgres.wait_ready()
        wait_until(lambda: events(logs, WorkerKind.CHECKPOINT, "agent.back"))
        for kind in ALL:
            system.stop(kind)
    finally:
        system.kill_all()

    [back] = events(logs, WorkerKind.RESUME, "drain.back")
    first, second = events(logs, WorkerKind.RESUME, "drain.waiting")
    assert (first["seconds"], first["queue"]) == (0, "resumes")
    assert back["seconds"] >= second["seconds"] >= 5
    assert events(logs, WorkerKind.RESUME, "celery.said")
    written = "".join(path.read_text(encoding="utf-8") for path in logs.iterdir())
    for url in (ours.database_url, ours.broker_url):
        assert (urlsplit(url.get_secret_value()).password or "") not in written
    assert {line["worker"] for kind in ALL for line in lines(logs, kind)} == {*ALL}


def test_a_worker_that_may_not_start_says_so_in_a_line(system: System, tmp_path: Path) -> None:
    """With what is wrong, and without the password of the address that is."""
    with pytest.raises(AssertionError, match="ended with 4"):
        system.start(WorkerKind.SWEEPER, CHECKPOINT_DATABASE_URL="postgresql://me:not-to-be-told@127.0.0.1:1/nothing")

    [line] = events(tmp_path / "logs", WorkerKind.SWEEPER, "worker.refused")
    assert line["code"] == "unreachable"
    assert "not-to-be-told" not in json.dumps(lines(tmp_path / "logs", WorkerKind.SWEEPER))
