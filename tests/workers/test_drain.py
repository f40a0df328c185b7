"""The drain: batches in their order, one poisoned message set aside, nothing acknowledged before it is handled."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from bad_completions import completion
from bad_defers import good
from letterbox import Letterbox
from sql_door import SqlDoor
from structlog.testing import capture_logs
from structlog.typing import EventDict
from waiting import wait_until

from shared.broker import Keys, run
from shared.letters import Letter, Return
from shared.queues import RESUMES
from shared.settings import Settings
from workers.drain import BATCH_BYTES, BATCH_MESSAGES, Drain
from workers.intake import Handled
from workers.resume.resume import ResumeStory

COMPLETE = "dependency.complete"
DONE = "continuation.done"
LONG_AGO = 1


@dataclass
class Seen:
    """Whoever watches a drain: every batch, in order."""

    batches: list[Handled] = field(default_factory=list[Handled])
    logged: list[EventDict] = field(default_factory=list[EventDict])

    def taken(self, queue: str, handled: Handled) -> None:
        """Write the batch down."""
        _ = queue
        self.batches.append(handled)

    @property
    def letters(self) -> list[Letter]:
        """The letters of all batches."""
        return [letter for batch in self.batches for letter in batch.letters]

    @property
    def returns(self) -> list[Return]:
        """What was refused, of all batches."""
        return [one for batch in self.batches for one in batch.returns]

    @property
    def ids(self) -> list[str]:
        """The ids of the letters, in order."""
        return [letter.id for letter in self.letters]


@contextmanager
def draining(settings: Settings) -> Generator[Seen]:
    """Drain the queue `resumes` for as long as the block runs."""
    seen = Seen()
    drain = Drain(ResumeStory(settings, Keys(settings.key_prefix)), settings, seen)
    # Also since a traceback in colours takes seconds.
    with capture_logs() as seen.logged:
        drain.start()
        try:
            yield seen
        finally:
            drain.stop()


def dones(count: int) -> list[dict[str, Any]]:
    """Return messages that write nothing."""
    return [{"v": 1, "continuation_id": f"c-{number}"} for number in range(count)]


def taken_lists(letterbox: Letterbox) -> list[bytes]:
    """Return the lists of drains that have taken something and not acknowledged it."""
    found: Any = run(letterbox.client, ("KEYS", letterbox.keys.taken(RESUMES, "*")))[0]
    return found


def rejections(door: SqlDoor) -> list[tuple[Any, ...]]:
    """Return the refused messages that are kept."""
    return door.conn.execute("SELECT message_id, code, dependency_id FROM rejection ORDER BY id").fetchall()


def test_messages_are_handled_in_their_order_and_acknowledged(
    settings: Settings, letterbox: Letterbox, door: SqlDoor
) -> None:
    """More than a batch goes through in several, none larger than its bound; nothing is left in Redis."""
    _ = door
    ids = letterbox.put(RESUMES, DONE, *dones(BATCH_MESSAGES + 100))

    with draining(settings) as seen:
        wait_until(lambda: len(seen.ids) == len(ids))

    assert seen.ids == ids
    assert [len(batch.letters) for batch in seen.batches] == [BATCH_MESSAGES, 100]
    assert letterbox.on(RESUMES) == []
    assert taken_lists(letterbox) == []
    assert letterbox.client.exists(letterbox.keys.drains(RESUMES)) == 0


def test_a_batch_is_bound_in_bytes(settings: Settings, letterbox: Letterbox, door: SqlDoor) -> None:
    """Large messages come in smaller batches: also what is refused must fit into a worker."""
    _ = door
    message = completion(outcome="x" * 1_000_000)
    ids = letterbox.put(RESUMES, COMPLETE, *[message] * 12)
    size = len(letterbox.raws(letterbox.keys.queue(RESUMES))[0])

    with draining(settings) as seen:
        wait_until(lambda: len(seen.returns) == len(ids))

    assert len(seen.batches) > 1
    assert max(len(batch.returns) for batch in seen.batches) * size <= BATCH_BYTES + size


def test_one_poisoned_message_is_set_aside_and_no_other(
    settings: Settings, letterbox: Letterbox, door: SqlDoor
) -> None:
    """What Postgres cannot store is found by halving the batch; its sender is told, and the rest is written."""
    waits = [good() for _ in range(20)]
    door.many("defer", [json.dumps(wait) for wait in waits])
    names = [wait["dependency"]["id"] for wait in waits]
    messages = [completion(dependency_id=name, outcome=name) for name in names]
    messages[13] |= {"outcome": "poison", "receipt_to": "continuations.me"}
    door.conn.execute("""ALTER TABLE dependency ADD CONSTRAINT no_poison CHECK (outcome <> '"poison"')""")
    ids = letterbox.put(RESUMES, COMPLETE, *messages)

    with draining(settings) as seen:
        wait_until(lambda: len(seen.ids) == 19 and letterbox.on("continuations.me"))

    assert rejections(door) == [(ids[13], "invalid-message", names[13])]
    assert [line["event"] for line in seen.logged].count("message.set-aside") == 1
    [told] = letterbox.on("continuations.me")
    assert (told.task, told.fields["id"], told.fields["dependency_id"]) == ("run.refused", ids[13], names[13])
    outcomes = [door.row(name)["outcome"] for name in names]
    assert outcomes == [name if number != 13 else None for number, name in enumerate(names)]


@pytest.mark.parametrize(
    ("task", "message"),
    [(COMPLETE, completion() | {"a\0b": 1}), ("run\0me", {}), (COMPLETE, completion(outcome_type="\0"))],
    ids=["a field's name", "a task's name", "a value"],
)
def test_a_nul_in_what_is_refused_stops_nothing(
    task: str, message: dict[str, Any], settings: Settings, letterbox: Letterbox, door: SqlDoor
) -> None:
    """Postgres knows no NUL: the refusal is kept without it, and the drain goes on."""
    [bad] = letterbox.put(RESUMES, task, message)
    [next_one] = letterbox.put(RESUMES, DONE, *dones(1))

    with draining(settings) as seen:
        wait_until(lambda: seen.ids == [next_one])

    assert [row[0] for row in rejections(door)] == [bad]


def test_nothing_is_acknowledged_before_it_is_handled(settings: Settings, letterbox: Letterbox, door: SqlDoor) -> None:
    """While Postgres has not committed, the messages lie in the drain's own list: a kill -9 would lose none."""
    wait = good()
    door.defer(wait)
    name = wait["dependency"]["id"]

    with draining(settings) as seen:
        with psycopg.connect(settings.database_url.get_secret_value()) as other:
            other.execute("SELECT FROM dependency WHERE id = %s FOR UPDATE", [name])
            letterbox.put(RESUMES, COMPLETE, completion(dependency_id=name))
            query = "SELECT FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
            wait_until(lambda: door.conn.execute(query, [f"checkpoints drain {RESUMES}"]).rowcount == 1)

            [taken] = taken_lists(letterbox)
            assert len(letterbox.raws(taken.decode())) == 1
            assert letterbox.on(RESUMES) == []
            assert seen.batches == []

        wait_until(lambda: seen.batches and not taken_lists(letterbox))

    assert door.row(name)["resumed_at"] is not None


def test_what_a_dead_drain_had_taken_is_put_back_in_order(
    settings: Settings, letterbox: Letterbox, door: SqlDoor
) -> None:
    """Once its lease is over, another drain takes its messages before the newer ones of the queue."""
    _ = door
    ids = letterbox.put(RESUMES, DONE, *dones(6))
    key = letterbox.keys.queue(RESUMES)
    dead = letterbox.keys.taken(RESUMES, uuid4().hex)
    for _number in range(3):
        run(letterbox.client, ("LMOVE", key, dead, "RIGHT", "RIGHT"))
    run(letterbox.client, ("ZADD", letterbox.keys.drains(RESUMES), LONG_AGO, dead))

    with draining(settings) as seen:
        wait_until(lambda: len(seen.ids) == len(ids))

    assert seen.ids == ids
    assert letterbox.client.exists(dead, letterbox.keys.drains(RESUMES)) == 0


def test_what_a_living_drain_has_taken_is_left_to_it(settings: Settings, letterbox: Letterbox, door: SqlDoor) -> None:
    """A lease that is not over keeps its list from all others."""
    _ = door
    living = letterbox.keys.taken(RESUMES, uuid4().hex)
    [its] = letterbox.put(RESUMES, DONE, *dones(1))
    run(letterbox.client, ("LMOVE", letterbox.keys.queue(RESUMES), living, "RIGHT", "RIGHT"))
    run(letterbox.client, ("ZADD", letterbox.keys.drains(RESUMES), 10**15, living))
    [another] = letterbox.put(RESUMES, DONE, *dones(1))

    with draining(settings) as seen:
        wait_until(lambda: another in seen.ids)

    assert its not in seen.ids
    assert len(letterbox.raws(living)) == 1
