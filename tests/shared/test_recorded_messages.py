"""Messages that were recorded, in this release or an earlier one, are understood for ever."""

import json
from threading import Event

import pytest
from recorded import Recorded, documented, recorded
from redis import Redis

from shared.broker import Keys
from shared.guard import admit_task
from shared.letters import Letter, open_letter
from shared.messages import (
    Cancel,
    Complete,
    Continue,
    Defer,
    Done,
    Message,
    Prepare,
    Ready,
    Refused,
    Restore,
    Resume,
    Take,
    Taken,
    Unreachable,
)
from shared.queues import CONTINUATIONS, DEFERRALS, TaskName
from shared.reading import read
from shared.replies import take_replies
from shared.settings import Settings

DRAINED: dict[TaskName, type[Message]] = {
    TaskName.DEFER: Defer,
    TaskName.CANCEL: Cancel,
    TaskName.READY: Ready,
    TaskName.COMPLETE: Complete,
    TaskName.RESUME: Resume,
    TaskName.DONE: Done,
}
TAKEN: dict[TaskName, type[Message]] = {TaskName.TAKE: Take, TaskName.RESTORE: Restore}
ANSWERED: dict[TaskName, type[Message]] = {
    TaskName.CONTINUE: Continue,
    TaskName.PREPARE: Prepare,
    TaskName.REFUSED: Refused,
    TaskName.UNREACHABLE: Unreachable,
    TaskName.TAKEN: Taken,
}
ALL = [*recorded(), *documented()]


def of(kinds: dict[TaskName, type[Message]]) -> list[Recorded]:
    """Return the recorded messages of these kinds."""
    return [one for one in ALL if one.task in kinds]


@pytest.mark.parametrize("one", of(DRAINED), ids=str)
def test_a_drain_reads_it(one: Recorded) -> None:
    """A message of an upstream, or a hint of an earlier release's worker, means what it meant."""
    letter = open_letter(one.raw, queue=DEFERRALS, types=DRAINED)

    assert isinstance(letter, Letter), letter
    assert (letter.task, letter.id) == (one.task, one.item["headers"]["id"])
    assert json.loads(letter.body) == one.fields


@pytest.mark.parametrize("one", of(TAKEN), ids=str)
def test_a_checkpoint_worker_reads_it(one: Recorded) -> None:
    """What the last release's workers have sent is taken by this one's."""
    admitted = admit_task(one.raw, "checkpoints.node-1")

    assert admitted.task_id == one.item["headers"]["id"]
    message = read(json.dumps(one.fields).encode(), TAKEN[TaskName(one.task)])
    assert isinstance(message, Take | Restore)
    assert message.run_id == one.fields["run_id"]


def test_the_client_reads_every_answer(redis_client: Redis, keys: Keys, settings: Settings) -> None:
    """An upstream with this release's client hears what workers of any release have sent."""
    answers = of(ANSWERED)
    redis_client.lpush(keys.queue(CONTINUATIONS), *[one.raw for one in answers])
    stopping = Event()
    replies = take_replies(settings, CONTINUATIONS, stopping=stopping)

    heard = [next(replies) for _ in answers]

    replies.close()
    assert [type(reply) for reply in heard] == [ANSWERED[TaskName(one.task)] for one in answers]
    left_out = [reply.outcomes_left_out for reply in heard if isinstance(reply, Continue) and reply.outcomes is None]
    assert left_out == [True]


@pytest.mark.parametrize("kinds", [DRAINED, TAKEN, ANSWERED], ids=["drained", "taken", "answered"])
def test_every_kind_of_message_was_recorded(kinds: dict[TaskName, type[Message]]) -> None:
    """A kind of message that comes to be needs a recording."""
    assert {one.task for one in of(kinds)} == set(kinds)


def test_every_task_is_of_one_of_the_kinds() -> None:
    """No task's messages are left out here."""
    assert {*DRAINED, *TAKEN, *ANSWERED} == set(TaskName)


def test_the_documentation_shows_what_is_read() -> None:
    """Each documented item holds the fields that are shown beside it."""
    examples = documented()
    assert {one.task for one in examples} >= {TaskName.DEFER, TaskName.COMPLETE, TaskName.CONTINUE, TaskName.DONE}
    for one in examples:
        letter = open_letter(one.raw, queue=DEFERRALS, types=DRAINED | ANSWERED)
        assert isinstance(letter, Letter), letter
        assert json.loads(letter.body) == one.fields
