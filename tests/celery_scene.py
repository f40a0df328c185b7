"""A Redis as a test sees it, and real Celery workers on it."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

import msgspec
from pydantic import SecretStr
from redis import Redis
from waiting import wait_until

from shared.broker import Keys, run
from shared.guard import SetAside
from shared.post import Post
from shared.settings import Settings

TESTS = Path(__file__).parent


def settings_for(url: str, *, transport: str = "deferred") -> Settings:
    """Return settings with a prefix that no other test has."""
    return Settings.model_validate(
        {"broker_url": SecretStr(url), "key_prefix": f"{uuid.uuid4().hex}:", "transport": transport}
    )


@dataclass(frozen=True, slots=True)
class Worker:
    """A Celery worker in a process of its own, with the tasks of `worker_of_tests`."""

    process: subprocess.Popen[bytes]
    log: Path

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self.process.poll() is None

    def has_logged(self, text: str) -> bool:
        """Tell whether the worker has said something."""
        return text in self.log.read_text()

    def stop(self) -> None:
        """End the worker, at once and without its help."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


StartWorker = Callable[..., Worker]


def start_worker_process(settings: Settings, folder: Path) -> Worker:
    """Start a worker on the queue `work`; it is ready later."""
    name = uuid.uuid4().hex
    log = folder / f"worker-{name}.log"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS.parent}:{TESTS}",
        "CHECKPOINT_BROKER_URL": settings.broker_url.get_secret_value(),
        "CHECKPOINT_KEY_PREFIX": settings.key_prefix,
        "CHECKPOINT_TRANSPORT": settings.transport,
    }
    argv = [sys.executable, "-m", "celery", "-A", "worker_of_tests", "worker", "-P", "threads", "-c", "2"]
    argv += ["-Q", "work", "-n", f"{name}@test", "--loglevel", "INFO"]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, env=environment, cwd=folder, stdout=output, stderr=output)
    return Worker(process, log)


def wait_ready(worker: Worker) -> None:
    """Wait until a worker takes messages.

    Raises:
        AssertionError: It ended, with what it printed.
    """
    wait_until(lambda: worker.has_logged(" ready.") or not worker.is_alive(), seconds=60)
    assert worker.is_alive(), worker.log.read_text()


class Scene:
    """A test's Redis as the test sees it."""

    def __init__(self, client: Redis, settings: Settings) -> None:
        self.client = client
        self.keys = Keys(settings.key_prefix)
        self.settings = settings

    def post(self, task: str, word: str, *, task_id: str = "", countdown: timedelta = timedelta(0)) -> None:
        """Send one message to the workers."""
        post = Post(self.client, self.keys, holds=True)
        post.add("work", task, {"word": word}, task_id=task_id or word, countdown=countdown)
        post.send()

    def push(self, item: bytes) -> None:
        """Put bytes on the queue as anybody could."""
        self.client.lpush(self.keys.queue("work"), item)

    def items(self, key: str) -> list[bytes]:
        """Return a list as it stands in Redis."""
        return cast("list[bytes]", run(self.client, ("LRANGE", key, 0, -1))[0])

    def set_memory_limit(self, limit: int) -> None:
        """Let Redis refuse what takes memory, or, with 0, nothing."""
        run(self.client, ("CONFIG", "SET", "maxmemory", limit))

    def ran(self) -> list[str]:
        """Return what the tasks have written down."""
        return [word.decode() for word in self.items(self.keys.queue("test:ran"))]

    def count(self, *command: str) -> int:
        """Ask Redis for a number."""
        answer = run(self.client, command)[0]
        assert isinstance(answer, int)
        return answer

    def held(self) -> int:
        """Return how many messages are held."""
        return self.count("ZCARD", self.keys.held_due)

    def unacknowledged(self) -> int:
        """Return how many messages workers have and have not acknowledged."""
        return self.count("HLEN", self.keys.queue("unacked"))

    def set_aside(self) -> list[SetAside]:
        """Return what was set aside, the oldest first."""
        return [msgspec.json.decode(r, type=SetAside) for r in reversed(self.items(self.keys.rejected))]
