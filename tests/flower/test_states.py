"""What an operator sees in Flower: how each message ended, as a state of its own. Flower and all workers are real."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from flower_process import Flower
from letterbox import Letterbox
from runs import Run
from system import System
from waiting import wait_until

from shared.connections import Connections
from shared.queues import DEFERRALS, RESUMES, TaskName, checkpoints_queue
from shared.task_ids import restore_id, take_id

StartRun = Callable[[], Run]


def a_wait(run: Run, number: int = 1, **fields: Any) -> dict[str, Any]:
    """Return the registration of a run's wait, as a message."""
    return {
        "v": 1,
        "run_id": run.id,
        "attempt": 1,
        "wait_number": number,
        "reason": "WAIT_FOR_TASK",
        "dependency": {"id": f"{run.id}/{number}"},
        "workload": run.workload.to_json(),
    } | fields


def an_end(run: Run, number: int = 1) -> dict[str, Any]:
    """Return the completion of what a run waits for, with an outcome that nobody else may read."""
    return {
        "v": 1,
        "dependency_id": f"{run.id}/{number}",
        "outcome_type": "success",
        "outcome": {"token": "not-to-be-shown"},
    }


def test_a_wait_that_is_frozen_and_brought_back(
    watched: System, flower: Flower, letterbox: Letterbox, a_run: StartRun
) -> None:
    """Each of its messages ends in a word that says what became of it; the run is found from each, and each from it."""
    _ = watched
    run = a_run()
    [defer] = letterbox.put(DEFERRALS, TaskName.DEFER, a_wait(run, delay_ms=0))
    wait_until(lambda: flower.state(take_id(run.id, 1)) == "FROZEN")
    [complete] = letterbox.put(RESUMES, TaskName.COMPLETE, an_end(run))
    wait_until(lambda: flower.state(restore_id(run.id, 1, 2)) == "RESTORED")
    [done] = letterbox.put(RESUMES, TaskName.DONE, {"v": 1, "continuation_id": f"{run.id}/1"})
    ended = {defer: "DEFERRED", complete: "RESUMED", done: "DONE"}
    wait_until(lambda: {id_: flower.state(id_) for id_ in ended} == ended)

    found = flower.tasks(search=f"kwargs:run_id={run.id}")
    assert {task["name"] for task in found.values()} == {
        "checkpoint.defer",
        "checkpoint.take",
        "dependency.complete",
        "checkpoint.restore",
    }
    for task in found.values():
        assert "'wait_number': 1" in task["kwargs"]
        assert f"'dependency_id': '{run.id}/1'" in task["kwargs"]
    assert found.keys() == flower.tasks(search="kwargs:wait_number=1", limit="100").keys()
    assert "not-to-be-shown" not in str(flower.tasks())
    assert f"checkpoint.take {take_id(run.id, 1)[:8]}" in flower.get(f"/task/{take_id(run.id, 1)}")
    assert 'type="task-frozen"' in flower.get("/metrics")


def test_a_wait_that_ends_in_its_delay(watched: System, flower: Flower, letterbox: Letterbox, a_run: StartRun) -> None:
    """Its take is to be seen from the beginning, with the moment when it is due, and then as revoked."""
    _ = watched
    run = a_run()
    letterbox.put(DEFERRALS, TaskName.DEFER, a_wait(run, delay_ms=3_600_000))
    pending = wait_until(lambda: flower.task(take_id(run.id, 1)))
    assert pending["state"] == "PENDING"
    assert timedelta(minutes=59) < datetime.fromisoformat(pending["eta"]) - datetime.now(UTC) < timedelta(minutes=60)

    [complete] = letterbox.put(RESUMES, TaskName.COMPLETE, an_end(run))

    wait_until(lambda: flower.state(take_id(run.id, 1)) == "REVOKED")
    assert flower.state(complete) == "RESUMED"
    assert [task["name"] for task in flower.tasks(state="REVOKED").values()] == ["checkpoint.take"]


def test_a_run_that_is_asked_before_it_is_frozen(
    watched: System, flower: Flower, letterbox: Letterbox, a_run: StartRun
) -> None:
    """Its take shows until when the run may answer; the answer, and one too many, show what they changed."""
    _ = watched
    run = a_run()
    letterbox.put(DEFERRALS, TaskName.DEFER, a_wait(run, delay_ms=0, handshake=True))
    wait_until(lambda: flower.state(take_id(run.id, 1)) == "ASKED")
    asked = flower.tasks(state="ASKED")[take_id(run.id, 1)]
    assert datetime.fromisoformat(asked["eta"]) > datetime.now(UTC)

    [answer] = letterbox.put(DEFERRALS, TaskName.READY, {"v": 1, "run_id": run.id, "wait_number": 1})
    wait_until(lambda: flower.state(take_id(run.id, 1)) == "FROZEN")
    [late] = letterbox.put(DEFERRALS, TaskName.READY, {"v": 1, "run_id": run.id, "wait_number": 1})

    wait_until(lambda: flower.state(late) == "NOTHING-TO-DO")
    assert flower.state(answer) == "READY"


def test_a_message_that_is_refused(watched: System, flower: Flower, letterbox: Letterbox, a_run: StartRun) -> None:
    """It says why: by its code and its problem, also where it could not be read at all, or is no upstream's."""
    _ = watched
    run = a_run()
    [bad] = letterbox.put(DEFERRALS, TaskName.DEFER, a_wait(run, attempt=0))
    letterbox.put_raw(RESUMES, b"no JSON")
    [forged] = letterbox.put(checkpoints_queue(watched.settings.node), TaskName.TAKE, {"v": 1, "run_id": run.id})
    [twice, again] = letterbox.put(DEFERRALS, TaskName.DEFER, a_wait(run), a_wait(run, key="another"))

    wait_until(lambda: len(flower.tasks(state="REFUSED")) == 4)

    results = {id_: task["result"] for id_, task in flower.tasks(state="REFUSED").items()}
    assert results[bad].startswith("invalid-message: attempt ")
    assert results[again].startswith("wait-conflict: ")
    assert results[forged].startswith("invalid-message: ")
    [unreadable] = results.keys() - {bad, again, forged}
    assert flower.tasks(state="REFUSED")[unreadable]["name"] == "unreadable on resumes"
    assert bad in flower.tasks(search=f"kwargs:run_id={run.id}")
    wait_until(lambda: flower.state(twice) == "DEFERRED")


def test_what_is_called_off(watched: System, flower: Flower, letterbox: Letterbox, a_run: StartRun) -> None:
    """A cancelled run, a checkpoint that is called off, and a cancel that found nothing."""
    _ = watched
    run, other = a_run(), a_run()
    letterbox.put(DEFERRALS, TaskName.DEFER, a_wait(run), a_wait(other))
    [ends, keeps, finds_nothing] = letterbox.put(
        DEFERRALS,
        TaskName.CANCEL,
        {"v": 1, "run_id": run.id, "reason": {"type": "RUN_CANCELLED"}},
        {"v": 1, "run_id": other.id, "wait_number": 1, "reason": {"type": "MANUAL"}},
        {"v": 1, "run_id": "nobody", "reason": {"type": "RUN_CANCELLED"}},
    )

    wait_until(lambda: flower.state(finds_nothing) == "NOTHING-TO-DO")

    assert (flower.state(ends), flower.state(keeps)) == ("CANCELLED", "CALLED-OFF")
    assert {flower.state(take_id(one.id, 1)) for one in (run, other)} == {"REVOKED"}


def test_a_completion_that_comes_before_its_wait(
    watched: System, flower: Flower, letterbox: Letterbox, a_run: StartRun
) -> None:
    """It is recorded; the hint that follows the wait is what resumes it."""
    _ = watched
    run = a_run()
    [early] = letterbox.put(RESUMES, TaskName.COMPLETE, an_end(run))
    wait_until(lambda: flower.state(early) == "RECORDED")

    [late] = letterbox.put(DEFERRALS, TaskName.DEFER, a_wait(run))

    wait_until(lambda: "dependency.resume" in str(flower.tasks(state="RESUMED")))
    wait_until(lambda: flower.state(late) == "REGISTERED")
    assert "already-complete" in (flower.task(late) or {})["result"]


def test_a_message_that_comes_twice_does_not_hide_how_the_first_ended(
    watched: System, flower: Flower, letterbox: Letterbox, a_run: StartRun, connections: Connections
) -> None:
    """A take or restore with nothing left to do shows what its checkpoint is by now."""
    run = a_run()
    letterbox.put(DEFERRALS, TaskName.DEFER, a_wait(run, delay_ms=0))
    wait_until(lambda: flower.state(take_id(run.id, 1)) == "FROZEN")

    repeat(connections, watched, run, TaskName.TAKE, take_id(run.id, 1))

    wait_until(lambda: (flower.task(take_id(run.id, 1)) or {})["result"] == "nothing-to-do")
    assert flower.state(take_id(run.id, 1)) == "FROZEN"
    letterbox.put(RESUMES, TaskName.COMPLETE, an_end(run))
    wait_until(lambda: flower.state(restore_id(run.id, 1, 2)) == "RESTORED")

    repeat(connections, watched, run, TaskName.RESTORE, restore_id(run.id, 1, 2))

    wait_until(lambda: (flower.task(restore_id(run.id, 1, 2)) or {})["result"] == "nothing-to-do")
    assert flower.state(restore_id(run.id, 1, 2)) == "RESTORED"


def repeat(connections: Connections, system: System, run: Run, task: TaskName, id_: str) -> None:
    """Send a node a message that it has had."""
    post = connections.post()
    message = {"v": 1, "run_id": run.id, "wait_number": 1, "dependency_id": f"{run.id}/1"}
    post.add(checkpoints_queue(system.settings.node), task, message, task_id=id_)
    post.send()


def test_a_take_that_fails_and_is_tried_again(
    flower: Flower, system: System, letterbox: Letterbox, a_run: StartRun
) -> None:
    """Until no try is left it shows RETRY with what went wrong and when it comes again; then FAILURE."""
    minute = "60000"
    system.start(
        CHECKPOINT_SIMULATE_COMMAND='["false"]', CHECKPOINT_RETRY_BASE_MS=minute, CHECKPOINT_RETRY_TOTAL_MS=minute
    )
    wait_until(lambda: any("checkpoint." in name for name in flower.hears()), seconds=60)
    run = a_run()
    letterbox.put(DEFERRALS, TaskName.DEFER, a_wait(run, delay_ms=0))

    again = wait_until(lambda: in_state(flower, take_id(run.id, 1), "RETRY"))
    assert again["exception"].startswith("retried: ")
    assert again["eta"] is not None

    system.rows("UPDATE checkpoint SET due_at = clock(), look_at = clock() RETURNING id")

    failed = wait_until(lambda: in_state(flower, take_id(run.id, 1), "FAILURE"))
    assert failed["exception"].startswith("failed: ")
    assert run.runs


def in_state(flower: Flower, id_: str, state: str) -> dict[str, Any] | None:
    """Return a task once it is in a state."""
    task = flower.task(id_)
    return task if task and task["state"] == state else None


def test_workers_count_what_they_took_and_nothing_seems_to_wait_in_them(
    watched: System, flower: Flower, letterbox: Letterbox
) -> None:
    """Drained messages count as processed, and never as prefetched."""
    _ = watched
    ids = letterbox.put(RESUMES, TaskName.DONE, *({"v": 1, "continuation_id": uuid4().hex} for _ in range(20)))

    wait_until(lambda: all(flower.state(id_) == "NOTHING-TO-DO" for id_ in ids))

    lines = [line for line in flower.get("/metrics").splitlines() if 'task="continuation.done"' in line]
    assert any('type="task-received"' in line and line.endswith(" 20.0") for line in lines)
    assert [line for line in lines if line.startswith("flower_worker_prefetched_tasks")] == []
