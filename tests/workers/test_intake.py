"""What every drain does with a batch: one transaction, then answers, receipts and refusals where they belong."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from bad_completions import cancel, completion
from bad_defers import good
from letterbox import Letterbox
from psycopg import Connection
from psycopg.errors import CheckViolation
from redis import Redis, RedisError
from sql_door import SqlDoor

from shared import seam
from shared.broker import Keys
from shared.post import Post, envelope
from shared.queues import CONTINUATIONS, DEFERRALS, RESUMES
from shared.settings import Settings
from workers.checkpoint.defer import DeferStory
from workers.intake import Handled, Story, handle
from workers.resume.resume import ResumeStory

COMPLETE, DEFER, CANCEL = "dependency.complete", "checkpoint.defer", "checkpoint.cancel"
ME, MINE = "continuations.me", "continuations.mine"


class Worker:
    """A drain's worker without its thread: takes the batch that it is given."""

    def __init__(self, settings: Settings, letterbox: Letterbox, conn: Connection[Any]) -> None:
        keys = Keys(settings.key_prefix)
        self.stories: dict[str, Story] = {
            RESUMES: ResumeStory(settings, keys),
            DEFERRALS: DeferStory(settings, keys),
        }
        self._mailbox = letterbox
        self._conn = conn

    def take(self, queue: str, *messages: tuple[str, dict[str, Any]], post: Post | None = None) -> Handled:
        """Take one batch; the ids of the messages are their places."""
        raws = [
            envelope(task, message, task_id=str(place), queue=queue) for place, (task, message) in enumerate(messages)
        ]
        return handle(self.stories[queue], raws, conn=self._conn, post=post or self._mailbox.post())


@pytest.fixture
def worker(settings: Settings, letterbox: Letterbox, conn: Connection[Any]) -> Worker:
    """Workers of both queues."""
    return Worker(settings, letterbox, conn)


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The effects of this process, as they happen."""
    effects: list[str] = []
    seam.listen(effects.append)
    yield effects
    seam.listen(None)


def told(letterbox: Letterbox, queue: str) -> list[tuple[str, str]]:
    """Return what was said on a reply queue, and of which message."""
    return [(mail.task, mail.fields.get("id", "")) for mail in letterbox.on(queue)]


def test_a_receipt_is_sent_for_what_is_in_postgres(worker: Worker, letterbox: Letterbox, door: SqlDoor) -> None:
    """Each message that asked for it gets `message.taken`, also when it comes again; the others get none."""
    wait = good(receipt_to=ME)
    door.defer(good())

    worker.take(DEFERRALS, (DEFER, good()), (DEFER, wait), (CANCEL, cancel(receipt_to=ME)))
    worker.take(DEFERRALS, (DEFER, wait))
    worker.take(RESUMES, (COMPLETE, completion(receipt_to=ME)), ("continuation.done", {"v": 1, "continuation_id": "c"}))

    assert told(letterbox, ME) == [("message.taken", place) for place in ("1", "2", "0", "0")]
    assert {mail.fields["message"] for mail in letterbox.on(ME)} == {DEFER, CANCEL, COMPLETE}


def test_nothing_is_sent_before_the_commit(
    worker: Worker, letterbox: Letterbox, door: SqlDoor, heard: list[str]
) -> None:
    """At the commit all is written and no queue has heard of it."""
    wait = good(receipt_to=ME, delay_ms=0)
    name = wait["dependency"]["id"]
    at_commit: list[tuple[bool, int, int]] = []

    def look(effect: str) -> None:
        heard.append(effect)
        if effect == "deferrals.committed":
            sent = len(letterbox.on("checkpoints.node-1")), len(letterbox.on(ME))
            at_commit.append((door.row(name)["run_id"] == wait["run_id"], *sent))

    seam.listen(look)
    worker.take(DEFERRALS, (DEFER, wait))

    assert heard == ["deferrals.committed", "deferrals.sent"]
    assert at_commit == [(True, 0, 0)]
    assert (len(letterbox.on("checkpoints.node-1")), len(letterbox.on(ME))) == (1, 1)


def test_a_batch_that_cannot_be_written_says_nothing(
    worker: Worker, letterbox: Letterbox, door: SqlDoor, database_url: str
) -> None:
    """Without the commit there is neither receipt nor row, for no message of the batch."""
    with psycopg.connect(database_url) as conn:
        conn.execute("""ALTER TABLE dependency ADD CONSTRAINT no_poison CHECK (outcome <> '"poison"')""")
    fine, poison = completion(receipt_to=ME), completion(outcome="poison", receipt_to=ME)

    with pytest.raises(CheckViolation):
        worker.take(RESUMES, (COMPLETE, fine), (COMPLETE, poison))

    assert letterbox.on(ME) == []
    assert door.counts()[0] == 0


def test_a_batch_whose_answers_were_lost_is_answered_when_it_comes_again(
    worker: Worker, letterbox: Letterbox, door: SqlDoor, settings: Settings
) -> None:
    """Killed between commit and send: the second pass finds the wait resumed and not done, and sends it again."""
    wait = good(reply_to=MINE)
    door.defer(wait)
    message = (COMPLETE, completion(dependency_id=wait["dependency"]["id"], outcome=1, receipt_to=ME))
    with Redis.from_url("redis://127.0.0.1:1/0") as nowhere:  # pyright: ignore[reportUnknownMemberType]  # redis-py: untyped **kwargs
        away = Post(nowhere, Keys(settings.key_prefix), holds=True)
        with pytest.raises(RedisError):
            worker.take(RESUMES, message, post=away)
    resumed_at = door.row(wait["dependency"]["id"])["resumed_at"]
    assert resumed_at is not None

    worker.take(RESUMES, message)

    assert [mail.task for mail in letterbox.on(MINE)] == ["run.continue"]
    assert told(letterbox, ME) == [("message.taken", "0")]
    assert door.row(wait["dependency"]["id"])["resumed_at"] == resumed_at


REFUSED_AT: dict[str, tuple[dict[str, Any], list[str]]] = {
    "the message's receipt queue, and the known wait's": ({"receipt_to": ME}, [ME, "continuations.known"]),
    "the message's reply queue": ({"reply_to": MINE}, [MINE]),
    "both": ({"receipt_to": ME, "reply_to": MINE}, [ME, MINE]),
    "the known wait's reply queue": ({}, ["continuations.known"]),
    "the default, of a run without waits": ({"run_id": "unknown", "dependency": {"id": "unknown/1"}}, [CONTINUATIONS]),
    "nowhere": ({"run_id": "", "dependency": {"id": "\n"}}, []),
}


@pytest.mark.parametrize(("fields", "queues"), REFUSED_AT.values(), ids=REFUSED_AT.keys())
def test_a_refusal_is_told_where_the_contract_says(
    fields: dict[str, Any], queues: list[str], worker: Worker, letterbox: Letterbox, door: SqlDoor
) -> None:
    """To the receipt's queue, and to the reply queue that is named, else the wait's, else the default."""
    wait = good(reply_to="continuations.known")
    door.defer(wait)
    bad = {name: value for name, value in wait.items() if name != "reply_to"} | {"attempt": 0} | fields

    worker.take(DEFERRALS, (DEFER, bad))

    everywhere = [ME, MINE, "continuations.known", CONTINUATIONS]
    assert [queue for queue in everywhere if letterbox.on(queue)] == queues
    for queue in queues:
        [mail] = letterbox.on(queue)
        assert (mail.task, mail.fields["message"], mail.fields["code"]) == ("run.refused", DEFER, "invalid-message")
        assert (mail.fields["id"], mail.fields["facts"]["field"] in {"attempt", "run_id"}) == ("0", True)
    assert door.conn.execute("SELECT count(*) FROM rejection").fetchone() == (1,)


def test_a_rules_refusal_is_told_instead_of_a_receipt(worker: Worker, letterbox: Letterbox, door: SqlDoor) -> None:
    """A message that a rule refused is answered once: with the rule's code and facts, kept with its bytes."""
    wait = good(receipt_to=ME)
    door.defer(wait)

    handled = worker.take(DEFERRALS, (DEFER, wait | {"delay_ms": 7}))

    [mail] = letterbox.on(ME)
    assert (mail.task, mail.fields["code"]) == ("run.refused", "wait-conflict")
    assert mail.fields["facts"]["dependency_id"] == wait["dependency"]["id"]
    assert (mail.fields["run_id"], mail.fields["dependency_id"]) == (wait["run_id"], wait["dependency"]["id"])
    [(code, raw)] = door.conn.execute("SELECT code, raw FROM rejection").fetchall()
    assert (code, bytes(raw)) == ("wait-conflict", handled.letters[0].raw)


def test_a_completion_of_a_time_is_refused_to_the_wait(worker: Worker, letterbox: Letterbox, door: SqlDoor) -> None:
    """Also the resume worker's rules are told to the wait's own queue."""
    at = {"id": "time-1", "resume_at": "2036-01-01T00:00:00Z"}
    door.defer(good(reason="WAIT_FOR_DURATION", dependency=at, reply_to=MINE))

    worker.take(RESUMES, (COMPLETE, completion(dependency_id="time-1")))

    assert [(mail.task, mail.fields["code"]) for mail in letterbox.on(MINE)] == [("run.refused", "invalid-message")]


def test_messages_of_one_batch_keep_their_order(worker: Worker, letterbox: Letterbox, door: SqlDoor) -> None:
    """A cancel ends the wait before it, and refuses the one behind it."""
    first, second = good(), good(receipt_to=ME)

    worker.take(
        DEFERRALS,
        (DEFER, first),
        (CANCEL, cancel(run_id=first["run_id"])),
        (CANCEL, cancel(run_id=second["run_id"])),
        (DEFER, second),
    )

    assert door.row(first["dependency"]["id"])["cancel_reason"] == "RUN_CANCELLED"
    assert [mail.fields["code"] for mail in letterbox.on(ME)] == ["run-over"]


def test_a_wait_and_its_completion_in_two_orders_continue_it_once(
    worker: Worker, letterbox: Letterbox, door: SqlDoor
) -> None:
    """Whichever batch comes first, the run is continued, with the outcome, on the wait's own queue."""
    _ = door
    waits = [good(reply_to=MINE, delay_ms=0) for _ in range(2)]
    ends = [(COMPLETE, completion(dependency_id=wait["dependency"]["id"], outcome="o")) for wait in waits]

    worker.take(RESUMES, ends[0])
    worker.take(DEFERRALS, *((DEFER, wait) for wait in waits))
    assert [mail.fields["dependency_id"] for mail in letterbox.on(RESUMES)] == [waits[0]["dependency"]["id"]]
    worker.take(RESUMES, ("dependency.resume", letterbox.on(RESUMES)[0].fields), ends[1])

    continued = {mail.fields["run_id"]: mail.fields for mail in letterbox.on(MINE)}
    assert continued.keys() == {wait["run_id"] for wait in waits}
    assert len(letterbox.on(MINE)) == 2
    for wait in waits:
        said = continued[wait["run_id"]]
        assert (said["mode"], said["outcomes"]) == (
            "live",
            {wait["dependency"]["id"]: {"type": "success", "value": "o"}},
        )


def test_a_resumed_waits_held_take_is_removed_and_its_token_raised(
    worker: Worker, letterbox: Letterbox, door: SqlDoor
) -> None:
    """The countdown is gone in the same round trip as the continuation."""
    _ = door
    wait = good(delay_ms=30_000)
    worker.take(DEFERRALS, (DEFER, wait))
    assert [mail.fields["first"] for mail in letterbox.held()] == [True]

    worker.take(RESUMES, (COMPLETE, completion(dependency_id=wait["dependency"]["id"])))

    assert letterbox.held() == []
    token: Any = letterbox.client.get(letterbox.keys.token(wait["run_id"]))
    assert json.loads(token)["wait_number"] == 1
