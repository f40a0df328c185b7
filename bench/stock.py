"""The same with Celery alone: a countdown task for each wait, revoked when the wait ends. Nothing is in Postgres."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery
from redis import Redis

from bench.meter import Cost, measure

QUEUE = "stock"
DELAY_SECONDS = 60


def make_app(broker_url: str) -> Celery:
    """Return Celery as its documentation sets it up, with a task for the checkpoint and one for the continuation."""
    app = Celery("bench.stock", broker=broker_url, set_as_current=False)
    app.conf.update(task_default_queue=QUEUE, task_ignore_result=True, broker_connection_retry_on_startup=True)

    @app.task(name="checkpoint")
    def checkpoint() -> None:
        """Would freeze; every one of them is revoked."""

    @app.task(name="go_on")
    def go_on(wait: str) -> None:
        """Count a run that goes on."""
        client: Any = Redis.from_url(broker_url)  # pyright: ignore[reportUnknownMemberType]  # redis-py: untyped
        client.lpush("stock:heard", wait)
        client.close()

    _ = checkpoint, go_on
    return app


class Stock:
    """A stock Celery worker on the given Redis.

    Args:
        broker_url: Of an empty Redis.
        roots: Process ids of the servers, for the meter.
        log: Where the worker's lines go.
    """

    def __init__(self, broker_url: str, *, roots: dict[str, int], log: Path) -> None:
        self._app = make_app(broker_url)
        self._redis: Any = Redis.from_url(broker_url)  # pyright: ignore[reportUnknownMemberType]  # redis-py: untyped
        with log.open("wb") as out:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "bench.stock", broker_url], stdout=out, stderr=subprocess.STDOUT
            )
        while "ready." not in log.read_text():
            time.sleep(0.05)
        self._roots = roots | {"worker": self._worker.pid}

    def pairs(self, count: int) -> Cost:
        """Return what `count` waits cost from their countdown until the last run went on."""
        return measure(lambda: self._pairs(count), **self._roots)

    def close(self) -> None:
        """End the worker; what it holds is of no use to anyone."""
        self._worker.kill()
        self._worker.wait()
        self._redis.close()

    def _pairs(self, count: int) -> None:
        checkpoint, go_on = self._app.tasks["checkpoint"], self._app.tasks["go_on"]
        ids = [uuid4().hex for _ in range(count)]
        self._redis.delete("stock:heard")
        for id_ in ids:
            checkpoint.apply_async(countdown=DELAY_SECONDS, task_id=id_)
        for id_ in ids:
            self._app.control.revoke(id_)
            go_on.apply_async((id_,))
        while self._redis.llen("stock:heard") < count:
            time.sleep(0.005)


if __name__ == "__main__":
    make_app(sys.argv[1]).worker_main(["worker", "--pool=threads", "--concurrency=2", "--loglevel=INFO", "-E"])
