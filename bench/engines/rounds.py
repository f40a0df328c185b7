"""One round: a run is frozen and brought back by the engine, another one with the bare tool, each step timed."""

import os
import shutil
import statistics
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Event
from typing import Any, TypeVar
from unittest.mock import patch

from bench.engines.subject import Heap, Run, Subject
from workers.node.lock import NodeLock, node_lock

NEVER = Event()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of each phase here, and with the bare tool; bytes as dumped and as stored.

    Attributes:
        freeze: Until nothing of the run runs.
        dump: Until its memory is in files, with all that the engine looks at before and after.
        store: Packing, compressing and hashing those, until the disk has them; removing the dump.
        kill: Until its memory is free.
        fetch: Reading, verifying and unpacking the image, and removing what was unpacked.
        restore: Until the run is there again, held.
        permit: Until it runs.
        bare_dump: With the bare tool, until its memory is free.
        bare_restore: With the bare tool, until it runs.
    """

    freeze: float
    dump: float
    store: float
    kill: float
    fetch: float
    restore: float
    permit: float
    bare_dump: float
    bare_restore: float
    dump_bytes: float
    image_bytes: float


def median(rounds: list[Round]) -> Round:
    """Return the median of each of them."""
    return Round(*(statistics.median(getattr(one, field.name) for one in rounds) for field in fields(Round)))


def dump_ratio(typical: Round) -> float:
    """Return what giving the memory back takes here over the bare tool: the same work, so without the store."""
    return (typical.freeze + typical.dump + typical.kill) / typical.bare_dump


def restore_ratio(typical: Round) -> float:
    """Return what bringing it back takes here over the bare tool: the same work, so without the fetch."""
    return (typical.restore + typical.permit) / typical.bare_restore


def measure(subject: Subject, heap: Heap, *, folder: Path, number: int) -> Round:
    """Measure one round; nothing of it is left.

    Args:
        subject: The engine.
        heap: What the runs hold.
        folder: Where they write, and their dumps lie.
        number: Names its images.
    """
    folder.mkdir()
    found: dict[str, float] = {}
    # In turns, so that neither always finds the disk as the other left it.
    sides = (_ours, _bare) if number % 2 else (_bare, _ours)
    try:
        for side in sides:
            with _a_run(subject, folder / side.__name__, heap) as run:
                found |= side(subject, run, folder, number)
    finally:
        shutil.rmtree(folder)
    return Round(**found)


@contextmanager
def _a_run(subject: Subject, folder: Path, heap: Heap) -> Generator[Run]:
    folder.mkdir()
    run = subject.start(folder, heap)
    try:
        run.expect_ready()
        yield run
    finally:
        run.end()


def _ours(subject: Subject, run: Run, folder: Path, number: int) -> dict[str, float]:
    with node_lock(folder / "locks", "bench") as lock:
        if lock is None:
            raise LookupError("the lock of a new folder is held")
        return _measured(subject, run, lock, number)


def _measured(subject: Subject, run: Run, lock: NodeLock, number: int) -> dict[str, float]:
    engine, workload = subject.engine, run.workload
    first, second = f"{number}-1", f"{number}-2"
    transferred: list[float] = []
    with _timed_transfers(subject.transfers, transferred):
        _, freeze = _timed(lambda: engine.freeze(workload, lock=lock, stop=NEVER))
        image, store = _timed(lambda: engine.store(workload, name=first, lock=lock, stop=NEVER))
        _, kill = _timed(lambda: engine.kill(workload))
        put = sum(transferred)
        held, restore = _timed(lambda: engine.restore(image, name=second, workload=workload, lock=lock, stop=NEVER))
        fetch = sum(transferred) - put
    _, permit = _timed(lambda: engine.permit(held))
    run.workload = held
    run.expect_running()
    engine.clear(second, keep=held)
    return {
        "freeze": freeze,
        "dump": store - put,
        "store": put,
        "kill": kill,
        "fetch": fetch,
        "restore": restore - fetch,
        "permit": permit,
        "dump_bytes": image.phases["dump_bytes"],
        "image_bytes": image.image_bytes,
    }


def _bare(subject: Subject, run: Run, folder: Path, number: int) -> dict[str, float]:
    dump = folder / f"dump-{number}"
    dump.mkdir()
    _, dumped = _timed(lambda: subject.dump(run, dump))
    subject.carry(run, dump)
    _, restored = _timed(lambda: subject.restore(run, dump))
    run.expect_running()
    # As the engine removed its own: memory that a side frees is quicker to get for the next one than memory that a
    # virtual machine's host has taken back.
    shutil.rmtree(dump)
    return {"bare_dump": dumped, "bare_restore": restored}


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    # What the disk has still to write of the step before is not this step's to wait for.
    os.sync()
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


@contextmanager
def _timed_transfers(methods: Iterable[tuple[type, str]], seconds: list[float]) -> Generator[None]:
    """Note how long each call of some methods takes."""

    def timed(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: object, **named: object) -> object:
            started = time.perf_counter()
            try:
                result = original(*arguments, **named)
                os.sync()  # the disk's part of it is not the next step's to wait for, as below
                return result
            finally:
                seconds.append(time.perf_counter() - started)

        return call

    patches = [patch.object(owner, name, timed(getattr(owner, name))) for owner, name in methods]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()
