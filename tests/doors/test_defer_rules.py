"""The rules of `checkpoint.defer` in the contract's order: repeats, conflicts, ends, attempts, numbers, limits."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from at_once import at_once
from bad_defers import good
from sql_door import SqlDoor

Given = Callable[[SqlDoor, dict[str, Any]], object]


def later(wait: dict[str, Any], number: int, **fields: Any) -> dict[str, Any]:
    """Return another wait of the same run."""
    return wait | {"wait_number": number, "dependency": {"id": f"{wait['dependency']['id']}/{number}"}} | fields


def test_a_registration_is_answered_in_full(shared_door: SqlDoor) -> None:
    """The answer has the nine fields of the contract."""
    wait = good(delay_ms=60_000)

    answer = shared_door.defer(wait)

    due_at = answer.pop("due_at")
    assert due_at == shared_door.row(wait["dependency"]["id"])["due_at"].isoformat()
    assert answer == {
        "dependency_id": wait["dependency"]["id"],
        "wait_number": 1,
        "duplicate": False,
        "complete": False,
        "will_checkpoint": True,
        "why": None,
        "delay_ms": 60_000,
        "delay_from": "call",
    }


@pytest.mark.parametrize(
    "again",
    [
        {},
        {"handshake": False, "reply_to": "continuations", "receipt_to": None, "traceparent": None, "key": None},
        {"receipt_to": "continuations.me"},
        {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
    ],
    ids=["as it was", "defaults written out", "with a receipt", "with a trace"],
)
def test_a_repeat_gets_the_same_answer_and_changes_nothing(again: dict[str, Any], shared_door: SqlDoor) -> None:
    """The same content is the same wait, however it is written and traced."""
    wait = good(delay_ms=1_000)
    first = shared_door.defer(wait)
    row = shared_door.row(wait["dependency"]["id"])

    second = shared_door.defer(wait | again)

    assert second == first | {"duplicate": True}
    assert shared_door.row(wait["dependency"]["id"]) == row


@pytest.mark.parametrize("how", ["resumed", "done", "cancelled", "of a run that is over"])
def test_a_repeat_is_one_also_when_its_wait_is_over(how: str, shared_door: SqlDoor) -> None:
    """Whatever became of a wait, its repeated registration gets the first answer."""
    wait = good()
    first = shared_door.defer(wait)
    if how in {"resumed", "done"}:
        shared_door.resume(wait["dependency"]["id"])
    if how == "done":
        shared_door.conn.execute("SELECT finish_continuation(%s)", [wait["dependency"]["id"]])
    if how == "cancelled":
        shared_door.cancel(wait["run_id"], "RUN_CANCELLED", wait_number=1)
    if how == "of a run that is over":
        shared_door.cancel(wait["run_id"], "RUN_COMPLETED")

    assert shared_door.defer(wait) == first | {"duplicate": True}


@pytest.mark.parametrize(
    "change",
    [{"delay_ms": 2}, {"reply_to": "continuations.b"}, {"key": "k"}, {"attempt": 2}, {"dependency": {"id": "other"}}],
    ids=["delay", "reply queue", "key", "attempt", "dependency"],
)
def test_the_same_number_with_other_content_is_a_conflict(change: dict[str, Any], shared_door: SqlDoor) -> None:
    """A wait number names one wait for ever."""
    wait = good(delay_ms=1)
    shared_door.defer(wait)
    row = shared_door.row(wait["dependency"]["id"])

    refusal = shared_door.refusal("defer", wait | change)

    assert refusal["code"] == "wait-conflict"
    assert refusal["facts"] == {
        "run_id": wait["run_id"],
        "wait_number": 1,
        "dependency_id": wait["dependency"]["id"],
    }
    assert shared_door.row(wait["dependency"]["id"]) == row


def run_is_over(door: SqlDoor, wait: dict[str, Any]) -> None:
    """End the whole run."""
    door.cancel(wait["run_id"], "RUN_CRASHED")


def waits_are_over(door: SqlDoor, wait: dict[str, Any]) -> None:
    """End the run's waits up to the next one."""
    door.cancel(wait["run_id"], "RUN_CANCELLED", wait_number=3)


def attempt_is_over(door: SqlDoor, wait: dict[str, Any]) -> None:
    """End the attempt."""
    door.cancel(wait["run_id"], "ATTEMPT_OVER", attempt=2)


def higher_attempt_waits(door: SqlDoor, wait: dict[str, Any]) -> None:
    """Let a higher attempt wait."""
    door.defer(later(wait, 3, attempt=3))


def still_waits(door: SqlDoor, wait: dict[str, Any]) -> None:
    """Leave the run's wait open."""


def has_waited(door: SqlDoor, wait: dict[str, Any]) -> None:
    """Let the run go on from its wait."""
    door.resume(wait["dependency"]["id"])


RULES: dict[str, tuple[list[Given], dict[str, Any], str]] = {
    "a run that is over": ([run_is_over], {"wait_number": 3}, "run-over"),
    "a wait number that is over": ([waits_are_over], {"wait_number": 3}, "run-over"),
    "an attempt that is over": ([attempt_is_over], {"wait_number": 3}, "attempt-superseded"),
    "a lower attempt that is over": ([attempt_is_over], {"wait_number": 3, "attempt": 1}, "attempt-superseded"),
    "a lower attempt than one known": ([higher_attempt_waits], {"wait_number": 4}, "attempt-superseded"),
    "an open wait": ([still_waits], {"wait_number": 3}, "checkpoint-in-progress"),
    "a lower number": ([has_waited], {"wait_number": 1}, "wait-number-too-low"),
    "a higher attempt with a lower number": ([still_waits], {"wait_number": 1, "attempt": 3}, "wait-number-too-low"),
    "a dependency of this run's": ([has_waited], {"wait_number": 3, "dependency": {"id": "?"}}, "dependency-taken"),
    # Which rule comes first.
    "a run over before an attempt": ([attempt_is_over, run_is_over], {"wait_number": 3}, "run-over"),
    "a run over before an open wait": ([waits_are_over, still_waits], {"wait_number": 3}, "run-over"),
    "an attempt over before a number": ([attempt_is_over], {"wait_number": 1}, "attempt-superseded"),
    "an open wait before a number": ([still_waits], {"wait_number": 1}, "checkpoint-in-progress"),
    "a number before a dependency": (
        [has_waited],
        {"wait_number": 1, "dependency": {"id": "?"}},
        "wait-number-too-low",
    ),
}


@pytest.mark.parametrize(("given", "asked", "code"), RULES.values(), ids=RULES.keys())
def test_a_wait_that_may_not_begin_is_refused(
    given: list[Given], asked: dict[str, Any], code: str, shared_door: SqlDoor
) -> None:
    """Wait 2 of attempt 2 is known; the next registration breaks one rule, or two, and the first of them is named."""
    wait = good(wait_number=2, attempt=2)
    shared_door.defer(wait)
    for happens in given:
        happens(shared_door, wait)
    before = shared_door.counts()
    row = shared_door.row(wait["dependency"]["id"])
    second = later(wait, 9) | asked
    if second["dependency"]["id"] == "?":
        second["dependency"] = wait["dependency"]

    refusal = shared_door.refusal("defer", second)

    assert refusal["code"] == code
    assert refusal["facts"]["run_id"] == wait["run_id"]
    assert shared_door.counts() == before
    assert shared_door.row(wait["dependency"]["id"]) == row


def test_a_dependency_of_another_run_is_taken(shared_door: SqlDoor) -> None:
    """Two waits never share a dependency, open or over."""
    wait = good()
    shared_door.defer(wait)

    refusal = shared_door.refusal("defer", good(dependency=wait["dependency"]))

    assert refusal["code"] == "dependency-taken"
    assert refusal["facts"]["dependency_id"] == wait["dependency"]["id"]


def test_two_runs_that_wait_for_each_other_are_taken(shared_door: SqlDoor) -> None:
    """A cycle is not looked for: it ends by a cancel."""
    first, second = good(), good()

    for one, other in ((first, second), (second, first)):
        assert shared_door.defer(one | {"dependency": {"id": other["run_id"]}})["duplicate"] is False


def test_more_open_waits_of_a_key_than_its_limit_are_refused(door: SqlDoor) -> None:
    """The limit counts open waits of one key; one that ended makes room."""
    door.set_setting(open_waits_per_key=2)
    waits = [good(key="k") for _ in range(3)]
    for wait in waits[:2]:
        door.defer(wait)

    refusal = door.refusal("defer", waits[2])
    assert (refusal["code"], refusal["facts"]["key"]) == ("too-many-waits", "k")
    assert door.defer(good(key="other"))["duplicate"] is False
    assert door.defer(waits[0])["duplicate"] is True

    door.resume(waits[0]["dependency"]["id"])
    assert door.defer(waits[2])["duplicate"] is False


def test_two_at_once_do_not_both_take_the_last_place_of_a_key(door: SqlDoor, database_url: str) -> None:
    """Of many registrations at one moment exactly as many are taken as the limit says."""
    door.set_setting(open_waits_per_key=2)

    def register() -> bool:
        with psycopg.connect(database_url, autocommit=True) as conn:
            [answer] = SqlDoor(conn).many("defer", [json.dumps(good(key="k"))])
            return "refused" not in answer

    taken = at_once(*[register] * 6)

    assert sum(taken) == 2
    assert door.counts()[0] == 2
