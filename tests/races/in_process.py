"""The workers' stories as tests call them in threads of their own, and locks that say who comes first."""

import json
from base64 import b64decode
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, get_ident
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
from runs import Run
from upstream import dependency_id
from waiting import wait_until

from shared import seam
from shared.connections import Connections
from shared.db.pool import connect
from shared.messages import Cancel, Complete, Defer, Message, Restore, Take
from shared.post import envelope
from shared.queues import CONTINUATIONS, DEFERRALS, RESUMES, TaskName
from workers.checkpoint.defer import DeferStory
from workers.intake import Story, handle
from workers.resume.resume import ResumeStory
from workers.sweeper.loop import turn

T = TypeVar("T")
_TASKS: dict[type[Message], TaskName] = {Defer: TaskName.DEFER, Cancel: TaskName.CANCEL, Complete: TaskName.COMPLETE}


@dataclass(frozen=True, slots=True)
class Workers:
    """What resume workers, drains of `deferrals` and sweepers do, each call on a connection of its own."""

    at: Connections

    def register(self, *messages: Defer | Cancel) -> None:
        """Handle a batch of `deferrals`, as one drain."""
        self._handle(DeferStory(self.at.settings, self.at.keys), [_raw(one, DEFERRALS) for one in messages])

    def resume(self, *messages: Complete) -> None:
        """Handle a batch of `resumes`, as one drain."""
        self._handle(ResumeStory(self.at.settings, self.at.keys), [_raw(one, RESUMES) for one in messages])

    def answer_hints(self) -> int:
        """Handle what lies on `resumes`; return how many messages that were."""
        popped: Any = self.at.redis.rpop(self.at.keys.queue(RESUMES), 1_000)
        if popped:
            self._handle(ResumeStory(self.at.settings, self.at.keys), popped)
        return len(popped or [])

    def sweep(self) -> None:
        """Look at everything whose time has come."""
        with connect(self.at.settings, name="sweeper") as conn:
            turn(self.at, conn)

    def sent(self, queue: str, task: TaskName) -> list[dict[str, Any]]:
        """Return what every message of a task on a queue says, the oldest first."""
        raws: Any = self.at.redis.lrange(self.at.keys.queue(queue), 0, -1)
        messages = [json.loads(raw) for raw in reversed(raws)]
        return [json.loads(b64decode(one["body"]))[1] for one in messages if one["headers"]["task"] == task]

    def continuations(self, run_id: str) -> list[dict[str, Any]]:
        """Return what was sent to a run, the oldest first."""
        return [one for one in self.sent(CONTINUATIONS, TaskName.CONTINUE) if one["run_id"] == run_id]

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a query."""
        with self.at.pool.connection() as conn:
            return conn.execute(query.encode(), values).fetchall()

    def blocked(self) -> int:
        """Return how many transactions of the test's database wait for a lock."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return self.rows(query)[0][0]

    def _handle(self, story: Story, raws: list[bytes]) -> None:
        with connect(self.at.settings, name="drain") as conn:
            handle(story, raws, conn=conn, post=self.at.post())


@dataclass(slots=True)
class Queue:
    """Works that wait for a lock one behind the other: who was added first has it first."""

    workers: Workers
    threads: ThreadPoolExecutor
    added: int = 0
    works: list[Future[Any]] = field(default_factory=list[Future[Any]])

    def add(self, work: Callable[[], Any]) -> None:
        """Begin a work, and return when it waits for the lock."""
        self.works.append(self.threads.submit(work))
        self.added += 1
        wait_until(lambda: self.workers.blocked() >= self.added or any(it.done() for it in self.works))
        assert self.workers.blocked() == self.added


@contextmanager
def behind_a_row(workers: Workers, dependency_id: str) -> Generator[Queue]:
    """Hold a wait's row; at the end of the block it is let go, and what was added has ended."""
    with ThreadPoolExecutor(8) as threads, psycopg.connect(workers.at.settings.database_url.get_secret_value()) as conn:
        conn.execute("SELECT FROM dependency WHERE id = %s FOR UPDATE", [dependency_id])
        queue = Queue(workers, threads)
        yield queue
        conn.commit()
        for work in queue.works:
            work.result()


@contextmanager
def behind_a_transaction(
    workers: Workers, begin: Callable[[psycopg.Connection[Any]], Any], *, is_undone: bool = False
) -> Generator[Queue]:
    """Do something in a transaction that ends with the block, by its commit or undone; then what was added goes on."""
    with ThreadPoolExecutor(8) as threads, connect(workers.at.settings, name="upstream") as conn:
        queue = Queue(workers, threads)
        with conn.transaction(force_rollback=is_undone):
            begin(conn)
            yield queue
        for work in queue.works:
            work.result()


@dataclass(slots=True)
class Stall:
    """A thread that stands at an effect until it is let go."""

    reached: Event = field(default_factory=Event)
    go: Event = field(default_factory=Event)
    result: Future[Any] = field(default_factory=Future[Any])


@contextmanager
def stalled_at(effect: str, work: Callable[[], T]) -> Generator[Stall]:
    """Do a work in a thread that stands still when it first passes an effect; it is let go at the end at the latest."""
    stall = Stall()
    ident: list[int] = []

    def stand(name: str) -> None:
        if name == effect and [get_ident()] == ident and not stall.reached.is_set():
            stall.reached.set()
            assert stall.go.wait(60)

    def begin() -> T:
        ident.append(get_ident())
        return work()

    seam.listen(stand)
    try:
        with ThreadPoolExecutor(1) as thread:
            stall.result = thread.submit(begin)
            wait_until(lambda: stall.reached.is_set() or stall.result.done())
            assert stall.reached.is_set(), stall.result
            try:
                yield stall
            finally:
                stall.go.set()
    finally:
        seam.listen(None)


class _Died(Exception):
    """A worker ends here: nothing of what it would have done comes."""


def die_at(effect: str, work: Callable[[], object]) -> None:
    """Do a work that ends at an effect, as if its worker had been killed there."""

    def die(name: str) -> None:
        if name == effect:
            raise _Died

    seam.listen(die)
    try:
        work()
    except _Died:
        return
    finally:
        seam.listen(None)
    raise AssertionError(effect)


def a_take(run: Run, number: int) -> Take:
    """Return the take of a run's wait, as a sweep sends it."""
    return Take(v=1, dependency_id=dependency_id(run.id, number), run_id=run.id, wait_number=number)


def a_restore(run: Run, number: int) -> Restore:
    """Return the restore of a run's wait, as the resume worker sends it."""
    return Restore(v=1, dependency_id=dependency_id(run.id, number), run_id=run.id, wait_number=number)


def _raw(message: Message, queue: str) -> bytes:
    return envelope(_TASKS[type(message)], message, task_id=str(uuid4()), queue=queue)
