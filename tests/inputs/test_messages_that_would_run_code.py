"""Messages in which a decoder would find code to run: they are text for nobody, set aside, and nothing of them runs."""

import json
import pickle
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from redis import Redis
from runs import Run
from system import ALL, System
from upstream import Upstream
from waiting import wait_until

from shared.broker import Keys
from shared.post import envelope
from shared.queues import DEFERRALS, RESUMES, TaskName, checkpoints_queue
from shared.settings import Settings
from shared.vocabulary import Mode

TYPES: Final = ("application/x-python-serialize", "application/x-yaml", "application/data", "application/json")


class Touches:
    """What makes a file as soon as somebody unpickles it.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def test_what_is_pickle_or_yaml_is_set_aside_and_runs_nothing(
    system: System,
    settings: Settings,
    upstream: Upstream,
    redis_client: Redis,
    keys: Keys,
    a_run: Callable[[], Run],
    tmp_path: Path,
) -> None:
    """On every queue, whatever the message says of its content; the run behind it is frozen and comes back."""
    ran = tmp_path / "ran"
    bodies = [
        pickle.dumps(([], {"v": Touches(ran)}, {})),
        f'- []\n- !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ["{ran}"]]\n'.encode(),
        f"[[], !!python/object/apply:os.system ['touch {ran}'], {{}}]".encode(),
    ]
    queues = {
        DEFERRALS: TaskName.DEFER,
        RESUMES: TaskName.COMPLETE,
        checkpoints_queue(settings.node): TaskName.TAKE,
    }
    system.start()
    before = {kind: [process.pid for process in system.processes(kind)] for kind in ALL}
    for queue, task in queues.items():
        items = [item(task, queue, body, type_) for body in bodies for type_ in TYPES]
        redis_client.lpush(keys.queue(queue), *items)

    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows("SELECT FROM checkpoint WHERE freed_at IS NOT NULL"))
    upstream.complete(run)

    assert upstream.continuation(run).mode is Mode.RESTORED
    wait_until(lambda: len(system.rows("SELECT FROM rejection")) == len(queues) * len(bodies) * len(TYPES))
    assert {row["code"] for row in system.rows("SELECT code FROM rejection")} == {"invalid-message"}
    assert not ran.exists()
    for kind in ALL:
        assert [process.pid for process in system.processes(kind) if process.poll() is None] == before[kind]


def test_the_pickle_would_run_if_somebody_read_it(tmp_path: Path) -> None:
    """Or the test above would show nothing."""
    pickle.loads(pickle.dumps(Touches(tmp_path / "ran")))  # noqa: S301  # made here

    assert (tmp_path / "ran").exists()


def item(task: TaskName, queue: str, body: bytes, type_: str) -> bytes:
    """Return a message with another body, and another word of what that is."""
    sent: dict[str, Any] = json.loads(envelope(task, {"v": 1}, task_id="code", queue=queue))
    sent |= {"body": b64encode(body).decode(), "content-type": type_, "content-encoding": "binary"}
    return json.dumps(sent).encode()
