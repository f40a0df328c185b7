"""`checkpoints runs list|show`, `watch` and `cancel` on a real database: what a person asks, and what programs read."""

import json
import subprocess
from collections.abc import Callable, Iterator

import psycopg
import pytest
from by_hand import ByHand
from command_line import argv_of, checkpoints, objects
from runs import Run
from sql_door import SqlDoor
from system import environment_of
from upstream import a_wait, dependency_id

from shared.client import Cancel, CancelCause, Checkpoints
from shared.messages import Workload
from shared.settings import Settings
from shared.task_ids import restore_id, take_id
from shared.vocabulary import CancelReason, EngineName
from workers.node.node import Node

LISTED = {
    "run_id",
    "attempt",
    "wait_number",
    "state",
    "reason",
    "node",
    "node_seen_at",
    "frozen_since",
    "engine",
    "dependency_id",
    "registered_at",
    "due_at",
    "resume_at",
    "error",
}


@pytest.fixture
def hand(node: Node, client: Checkpoints) -> ByHand:
    """The workers, acting when they are told to."""
    return ByHand(node, client)


@pytest.fixture
def sql_door(settings: Settings) -> Iterator[SqlDoor]:
    """A connection of a person's own."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as conn:
        yield SqlDoor(conn)


def states(settings: Settings, *words: str) -> dict[str, str]:
    """Return the runs that are listed, and what each is doing."""
    return {one["run_id"]: one["state"] for one in objects(settings, "runs", "list", *words)}


def test_each_run_is_listed_once_with_what_it_is_doing(
    settings: Settings, hand: ByHand, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """By its newest wait; a state for each part of a wait's life."""
    deferred, frozen, resumed, done, cancelled = (a_run() for _ in range(5))
    for run in (deferred, resumed, done, cancelled):
        client.defer(a_wait(run.id, run.workload, delay_ms=60_000))
    client.defer(a_wait(frozen.id, frozen.workload, delay_ms=0))
    hand.checkpoint_worker()
    for run in (resumed, done):
        hand.complete(run)
    client.done(dependency_id(done.id, 1))
    client.defer(a_wait(done.id, done.workload, 2, delay_ms=60_000))
    client.cancel(Cancel(v=1, run_id=cancelled.id, reason=CancelCause(CancelReason.RUN_CANCELLED)))

    assert states(settings) == {
        deferred.id: "deferred",
        frozen.id: "frozen",
        resumed.id: "continuing",
        done.id: "deferred",
        cancelled.id: "cancelled",
    }
    assert states(settings, "--state", "frozen", "--state", "cancelled") == {
        frozen.id: "frozen",
        cancelled.id: "cancelled",
    }
    assert all(set(one) == LISTED for one in objects(settings, "runs", "list"))


def test_runs_are_filtered_and_paged(settings: Settings, sql_door: SqlDoor, client: Checkpoints) -> None:
    """By reason, node and age; the newest first; the next page begins behind the last run of the one before."""
    workload = a_workload(settings)
    for number in range(5):
        client.defer(a_wait(f"run-{number}", workload))
    sql_door.conn.execute("UPDATE dependency SET registered_at = now() - interval '2 hours' WHERE run_id = 'run-1'")

    def listed(*words: str) -> list[str]:
        return [one["run_id"] for one in objects(settings, "runs", "list", *words)]

    assert listed() == ["run-4", "run-3", "run-2", "run-0", "run-1"]
    assert listed("--limit", "2") == ["run-4", "run-3"]
    assert listed("--limit", "2", "--after", "run-3") == ["run-2", "run-0"]
    assert listed("--older-than", "1h") == ["run-1"]
    assert listed("--node", settings.node, "--reason", "WAIT_FOR_TASK", "--limit", "1") == ["run-4"]
    assert listed("--node", "elsewhere") == listed("--reason", "MANUAL") == []


def test_a_list_that_is_piped_has_a_line_a_run(settings: Settings, client: Checkpoints) -> None:
    """Tabs between, names above, and nothing that a terminal would act upon."""
    client.defer(a_wait("run-\u00e9 1", a_workload(settings)))

    names, line = checkpoints(settings, "runs", "list").stdout.splitlines()

    assert names.split("\t")[:4] == ["RUN", "ATTEMPT", "WAIT", "STATE"]
    assert line.split("\t")[:4] == ["run-\u00e9 1", "1", "1", "deferred"]


def test_a_run_is_shown_with_its_tasks_and_its_timeline(
    settings: Settings, hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """From the registration to the continuation, each moment once; its take and its restore are found in Flower."""
    run = a_run()
    hand.client.defer(a_wait(run.id, run.workload, delay_ms=0))
    hand.checkpoint_worker()
    hand.complete(run)
    hand.checkpoint_worker()
    hand.client.done(dependency_id(run.id, 1))

    (shown,) = objects(settings, "runs", "show", run.id)

    assert [event["event"] for event in shown["timeline"]] == [
        "wait.registered",
        "checkpoint.due",
        "checkpoint.claimed",
        "checkpoint.accepted",
        "workload.freed",
        "dependency.completed",
        "dependency.resumed",
        "restore.claimed",
        "checkpoint.restored",
        "image.discarded",
        "continuation.done",
    ]
    (wait,) = shown["waits"]
    assert wait["tasks"] == {"take": take_id(run.id, 1), "restore": restore_id(run.id, 1, wait["epoch"])}
    told = checkpoints(settings, "runs", "show", run.id, CHECKPOINT_FLOWER_URL="http://me:secret@127.0.0.1:5555").stdout
    assert told.startswith(f"{run.id}: done (it went on)\n")
    assert f"http://127.0.0.1:5555/task/{take_id(run.id, 1)}\n" in told
    assert "secret" not in told


def test_a_checkpoint_that_the_wait_did_not_live_to_see_was_never_due(
    settings: Settings, hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """One that is still to come is shown, in the future."""
    ended, waiting = a_run(), a_run()
    for run in (ended, waiting):
        hand.client.defer(a_wait(run.id, run.workload, delay_ms=3_600_000))
    hand.complete(ended)

    def events(run: Run) -> list[str]:
        (shown,) = objects(settings, "runs", "show", run.id)
        return [event["event"] for event in shown["timeline"]]

    assert events(ended) == ["wait.registered", "dependency.completed", "dependency.resumed"]
    assert events(waiting) == ["wait.registered", "checkpoint.due"]


@pytest.mark.parametrize("words", [("runs", "show"), ("watch",), ("runs", "list", "--after")], ids=" ".join)
def test_a_run_that_is_not_known_is_said_to_be(words: tuple[str, ...], settings: Settings) -> None:
    """With an exit code of its own, and where to look."""
    done = checkpoints(settings, *words, "run-1")

    assert (done.returncode, done.stdout) == (3, "")
    assert "no wait of run run-1 is kept" in done.stderr


def test_a_run_is_watched_until_it_waits_no_more(settings: Settings, hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Each event once, as it happens, also before the run is known."""
    run = a_run()
    with subprocess.Popen(
        argv_of("watch", run.id, "--wait", "--json"), env=environment_of(settings), stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None

        def heard() -> str:
            assert watch.stdout is not None
            return json.loads(watch.stdout.readline())["event"]

        hand.client.defer(a_wait(run.id, run.workload, delay_ms=3_600_000))
        assert heard() == "wait.registered"
        hand.complete(run)
        assert [heard(), heard()] == ["dependency.completed", "dependency.resumed"]
        hand.client.done(dependency_id(run.id, 1))
        assert heard() == "continuation.done"
        assert watch.stdout.read() == ""
        assert watch.wait(timeout=30) == 0


def test_a_cancel_says_once_what_it_changed(settings: Settings, client: Checkpoints) -> None:
    """The answer of the contract, each true once."""
    client.defer(a_wait("run-1", a_workload(settings)))
    words = ("cancel", "run-1", "--reason", "RUN_CANCELLED", "--yes")

    assert objects(settings, *words) == [{"called_off": False, "wait_ended": True}]
    assert objects(settings, *words) == [{"called_off": False, "wait_ended": False}]
    assert "run-1: cancelled" in checkpoints(settings, "runs", "show", "run-1").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--reason", "MANUAL", "--yes"), "wait_number is missing"),
        (("--reason", "ATTEMPT_OVER", "--wait", "1", "--attempt", "1", "--yes"), "wait_number is 1; expected none"),
        (("--reason", "RUN_CANCELLED", "--detail", "x" * 1001, "--yes"), "at most 1,000 characters"),
        (("--reason", "RUN_CANCELLED"), "nobody can be asked here"),
        (("--reason", "BOREDOM", "--yes"), "BOREDOM"),
        ((), "--reason"),
    ],
    ids=["no wait", "a wait too many", "a long detail", "no terminal", "another reason", "no reason"],
)
def test_a_cancel_that_breaks_a_rule_changes_nothing(
    words: tuple[str, ...], says: str, settings: Settings, sql_door: SqlDoor, client: Checkpoints
) -> None:
    """It says what was expected, with the exit code of a command that was used wrongly."""
    client.defer(a_wait("run-1", a_workload(settings)))

    done = checkpoints(settings, "cancel", "run-1", *words)

    assert done.returncode == 2
    assert says in done.stderr
    assert sql_door.row(dependency_id("run-1", 1))["cancelled_at"] is None


@pytest.mark.parametrize("text", ["5", "5 m", "-5m", "1.5h", "m"])
def test_a_duration_that_is_none_is_refused(text: str, settings: Settings) -> None:
    """It says what one looks like."""
    done = checkpoints(settings, "runs", "list", "--older-than", text)

    assert done.returncode == 2
    assert "no duration" in done.stderr


def test_an_unreachable_server_has_an_exit_code_of_its_own(settings: Settings) -> None:
    """The address and what to check, never the password."""
    done = checkpoints(settings, "runs", "list", CHECKPOINT_DATABASE_URL="postgresql://me:secret@127.0.0.1:1/none")

    assert done.returncode == 4
    assert "Check CHECKPOINT_DATABASE_URL" in done.stderr
    assert "secret" not in done.stderr


def a_workload(settings: Settings) -> Workload:
    """Return a process that nobody looks at here."""
    return Workload(EngineName.SIMULATE, settings.node, pid=7, started_at_ticks=7)
