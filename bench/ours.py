"""Waits that end in their delay, through this system: registered, completed by messages, continued, done."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from threading import Event
from uuid import uuid4

from pydantic import SecretStr

from bench.meter import Cost, measure
from shared.broker import Keys, connect
from shared.client import Checkpoints, Complete, Continue, Defer, Dependency, Workload
from shared.db import nodes
from shared.db.migrate import migrate
from shared.db.pool import connect as connect_postgres
from shared.post import Post
from shared.queues import RESUMES, TaskName
from shared.settings import Settings
from shared.vocabulary import EngineName, OutcomeType, WaitReason

MANY = 1_000
NODE = "bench"


class Ours:
    """A resume worker on the given servers, and a client.

    Args:
        database_url: Of an empty database.
        broker_url: Of an empty Redis.
        roots: Process ids of the servers, for the meter.
        log: Where the worker's lines go.
    """

    def __init__(self, database_url: str, broker_url: str, *, roots: dict[str, int], log: Path) -> None:
        self._settings = Settings(database_url=SecretStr(database_url), broker_url=SecretStr(broker_url), node=NODE)
        migrate(database_url)
        with connect_postgres(self._settings, name="bench") as conn:
            nodes.seen(conn, NODE, engines=["simulate"], silent=timedelta(seconds=1))
        environment = {"CHECKPOINT_DATABASE_URL": database_url, "CHECKPOINT_BROKER_URL": broker_url}
        with log.open("wb") as out:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "workers.cli.main", "worker", "resume"],
                env=os.environ | environment | {"CHECKPOINT_NODE": NODE},
                stdout=out,
                stderr=out,
            )
        while "ready." not in log.read_text():
            time.sleep(0.05)
        self._roots = roots | {"worker": self._worker.pid}
        self._client = Checkpoints(self._settings)
        self._redis = connect(self._settings)
        self._stopping = Event()
        self._replies = self._client.replies(stopping=self._stopping)

    def pairs(self, count: int) -> Cost:
        """Return what `count` waits cost from their registration until the last one is done."""
        batch = uuid4().hex
        return measure(lambda: self._pairs(batch, count), **self._roots)

    def latencies(self, count: int) -> list[float]:
        """Return seconds from `complete` being called to the continuation being heard, one wait at a time."""
        return [self._one(uuid4().hex) for _ in range(count)]

    def close(self) -> None:
        """End the worker."""
        self._stopping.set()
        self._replies.close()
        self._client.close()
        self._redis.close()
        self._worker.terminate()
        self._worker.wait()

    def _pairs(self, batch: str, count: int) -> None:
        ids = [f"{batch}/{number}" for number in range(count)]
        for start in range(0, count, MANY):
            self._client.defer_many([_wait(id_) for id_ in ids[start : start + MANY]])
        for start in range(0, count, MANY):
            self._send(TaskName.COMPLETE, [_completion(id_) for id_ in ids[start : start + MANY]])
        heard = 0
        done: list[Continue] = []
        for reply in self._replies:
            if isinstance(reply, Continue):
                heard += 1
                done.append(reply)
            if len(done) >= MANY or heard == count:
                self._send(TaskName.DONE, [{"v": 1, "continuation_id": one.continuation_id} for one in done])
                done.clear()
            if heard == count:
                break
        self._wait_done(ids[-1])

    def _one(self, id_: str) -> float:
        self._client.defer(_wait(id_))
        started = time.perf_counter()
        self._client.complete(_completion(id_))
        for reply in self._replies:
            if isinstance(reply, Continue) and reply.dependency_id == id_:
                break
        seconds = time.perf_counter() - started
        self._client.done(id_)
        return seconds

    def _send(self, task: TaskName, messages: list[Complete] | list[dict[str, object]]) -> None:
        post = Post(self._redis, Keys(""), holds=True)
        for message in messages:
            post.add(RESUMES, task, message, task_id=uuid4().hex)
        post.send()

    def _wait_done(self, id_: str) -> None:
        with connect_postgres(self._settings, name="bench") as conn:
            while not conn.execute("SELECT 1 FROM dependency WHERE id = %s AND done_at IS NOT NULL", (id_,)).fetchone():
                time.sleep(0.005)


def _wait(id_: str) -> Defer:
    return Defer(
        v=1,
        run_id=f"run-{id_}",
        attempt=1,
        wait_number=1,
        reason=WaitReason.TASK,
        dependency=Dependency(id_),
        workload=Workload(EngineName.SIMULATE, NODE, pid=1, started_at_ticks=0),
    )


def _completion(id_: str) -> Complete:
    return Complete(v=1, dependency_id=id_, outcome_type=OutcomeType.SUCCESS, outcome={"rows": 3})
