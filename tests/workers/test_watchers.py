"""Events of a drain: one message for a batch, and never in the way of the work that they show."""

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, cast
from uuid import uuid4

import pytest
from pydantic import SecretStr
from redis import Redis
from structlog.testing import capture_logs
from waiting import wait_until

from shared.broker import connect, run
from shared.db.rejections import Rejection
from shared.letters import Return
from shared.queues import TaskName, make_app
from shared.settings import Settings
from workers.cli.servers import free_port
from workers.intake import Handled
from workers.shown import Shown, Word, named
from workers.watchers import EventWatcher

BATCH = 300


def a_batch() -> Handled:
    """Return what became of many messages, of which one was refused."""
    shown = [
        Shown(Word.RESUMED, TaskName.COMPLETE, str(uuid4()), named(run_id=f"run-{number}")) for number in range(BATCH)
    ]
    refused = Return(Rejection(queue="resumes", code="invalid-message", problem="p", raw=b"", message_id="bad"))
    return Handled([], [refused], shown)


class Ear:
    """Whoever listens to the events of one worker.

    Args:
        client: For the test's Redis.
        hostname: The worker's name.
    """

    def __init__(self, client: Redis, hostname: str) -> None:
        self._hostname = hostname
        self._pubsub: Any = cast("Any", client).pubsub()
        self._pubsub.psubscribe("*celeryev*")
        wait_until(lambda: self._pubsub.get_message(timeout=0.1))

    def hear(self) -> list[dict[str, Any]]:
        """Return the events of the next message of this worker."""
        message = wait_until(self._next)
        body: Any = json.loads(b64decode(message["body"]))
        return cast("list[dict[str, Any]]", body) if isinstance(body, list) else [body]

    def close(self) -> None:
        """Stop listening."""
        self._pubsub.close()

    def _next(self) -> dict[str, Any] | None:
        got = self._pubsub.get_message(timeout=0.1)
        message = json.loads(got["data"]) if got else None
        # Other tests use the same Redis.
        return message if message and message["headers"]["hostname"] == self._hostname else None


@pytest.fixture
def ear(settings: Settings) -> Iterator[Ear]:
    """A listener to the worker `one@test`."""
    client = connect(settings)
    one = Ear(client, f"one@{settings.node}")
    yield one
    one.close()
    client.close()


def test_the_events_of_a_batch_are_one_message(settings: Settings, ear: Ear) -> None:
    """However many messages a drain took, those who watch cost it one publish."""
    watcher = EventWatcher(make_app("test", settings), f"one@{settings.node}")

    watcher.taken("resumes", a_batch())

    events = ear.hear()
    assert len(events) == 2 * BATCH + 2
    assert {event["type"] for event in events} == {"task-received", "task-resumed", "task-refused"}


def test_a_broker_that_is_away_is_not_waited_for(settings: Settings) -> None:
    """The batch was handled; only what is shown has a gap, and a while nobody is tried again."""
    nowhere = settings.model_copy(update={"broker_url": SecretStr(f"redis://127.0.0.1:{free_port()}/0")})
    watcher = EventWatcher(make_app("test", nowhere), "one@test")

    with capture_logs() as logged:
        watcher.taken("resumes", a_batch())
        watcher.taken("resumes", a_batch())

    assert [line["event"] for line in logged] == ["events.dropped"]


def test_a_broker_that_refuses_events_stops_no_drain(settings: Settings, redis_client: Redis) -> None:
    """Also one whose rights do not reach so far: the messages themselves were handled."""
    user = f"test-{uuid4().hex}"
    run(redis_client, ("ACL", "SETUSER", user, "on", ">secret", "~*", "&*", "+@all", "-publish"))
    url = settings.broker_url.get_secret_value()
    _, _, address = url.rpartition("@") if "@" in url else url.partition("//")
    limited = settings.model_copy(update={"broker_url": SecretStr(f"redis://{user}:secret@{address}")})
    watcher = EventWatcher(make_app("test", limited), "one@test")

    with capture_logs() as logged:
        watcher.taken("resumes", a_batch())

    assert [line["event"] for line in logged] == ["events.dropped"]
    run(redis_client, ("ACL", "DELUSER", user))
