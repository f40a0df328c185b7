"""Many runs that wait again and again, one thread for each."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event, Thread

from upstream import a_completion, a_wait, dependency_id

from shared.client import Cancel, CancelCause, Defer, Dependency
from shared.settings import Settings
from shared.vocabulary import CancelReason, WaitReason
from tests.faults.doors import Stopped
from tests.faults.ledger_platform import LedgerPlatform, Life

DELAY_MS = 300
LOOK_SECONDS = 0.03
TIMES, CANCELS = 0.2, 0.05  # of all waits: for a time; with their attempt over; called off


class ManyRuns:
    """Runs, half of them with a database, half over the broker alone.

    Args:
        settings: Of the system.
        folder: Of the ledgers.
        count: Of the runs.
        seed: Of all that is random.
        cancels: Whether some waits are called off, or end with their attempt.
    """

    def __init__(self, settings: Settings, folder: Path, *, count: int, seed: int, cancels: bool = False) -> None:
        self.platform = LedgerPlatform(settings, folder)
        self._seed = seed
        self._cancels = cancels
        self._is_enough = Event()
        doors = (self.platform.sure, self.platform.repeating)
        self.lives = [self.platform.add(doors[number % 2]) for number in range(count)]
        self._threads: list[Thread] = []

    def begin(self, *, waits: int) -> None:
        """Let every run wait so often, one wait after the other."""
        for number, life in enumerate(self.lives):
            random = Random(f"{self._seed}-{number}")
            self._threads.append(Thread(target=self._live, args=(life, waits, random)))
        for thread in self._threads:
            thread.start()

    def enough(self) -> None:
        """Let every run end the wait that it is in, and begin no other."""
        self._is_enough.set()

    def close(self) -> None:
        """End everything."""
        self.platform.stopping.set()
        for thread in self._threads:
            thread.join()
        self.platform.close()

    def gone_on(self) -> int:
        """Return how many waits the runs went on from."""
        return sum(len(life.went_on_at) for life in self.lives)

    @property
    def problems(self) -> list[str]:
        """What must not have been."""
        return self.platform.problems

    def are_at_rest(self) -> bool:
        """Whether no run waits, and none will."""
        return self.problems != [] or not any(thread.is_alive() for thread in self._threads)

    def lateness(self) -> list[float]:
        """Return how many seconds after each wait's end its run went on."""
        return sorted(at - life.over_at[number] for life in self.lives for number, at in life.went_on_at.items())

    def late_since(self, moment: float) -> list[float]:
        """Return how many seconds after a moment, or after their wait's end if that came later, runs went on."""
        pairs = [(life.over_at[number], at) for life in self.lives for number, at in life.went_on_at.items()]
        return sorted(at - max(over_at, moment) for over_at, at in pairs if at >= moment)

    def _live(self, life: Life, waits: int, random: Random) -> None:
        try:
            while life.waits < waits and not self._is_enough.is_set():
                life.waits += 1
                self._wait_once(life, life.waits, random)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, the test has to hear of it
            self.problems.append(f"{life.run.id}: {error!r}")

    def _wait_once(self, life: Life, number: int, random: Random) -> None:
        seconds, kind = _seconds(random), random.random()
        if kind < TIMES:
            life.over_at[number] = time.monotonic() + seconds
            life.door.defer(_a_time_wait(life, number, seconds))
        else:
            life.door.defer(a_wait(life.run.id, life.run.workload, number, attempt=life.attempt, delay_ms=DELAY_MS))
            self.platform.stopping.wait(seconds)
            if self._cancels and kind > 1 - CANCELS:
                self._end_attempt(life, number)
                return
            if self._cancels and kind > 1 - 2 * CANCELS:
                life.door.cancel(_cancel(life, CancelReason.MANUAL, wait_number=number))
            life.over_at[number] = time.monotonic()
            life.door.complete(a_completion(life.run.id, number))
        while number not in life.went_on_at:
            if self.platform.stopping.wait(LOOK_SECONDS):
                raise Stopped
            self.platform.answer(life)

    def _end_attempt(self, life: Life, number: int) -> None:
        life.ended.add(number)
        life.door.cancel(_cancel(life, CancelReason.ATTEMPT_OVER, attempt=life.attempt))
        life.attempt += 1


def _cancel(life: Life, reason: CancelReason, *, attempt: int | None = None, wait_number: int | None = None) -> Cancel:
    cause = CancelCause(type=reason)
    return Cancel(v=1, run_id=life.run.id, reason=cause, attempt=attempt, wait_number=wait_number)


def _seconds(random: Random) -> float:
    """Return how long a wait lasts: half of them about as long as the delay and a freeze, the rest anything."""
    if random.random() < 0.5:
        return max(0.0, random.gauss(DELAY_MS / 1000 + 0.03, 0.04))
    return random.uniform(0.0, 1.6)


def _a_time_wait(life: Life, number: int, seconds: float) -> Defer:
    resume_at = datetime.now(UTC) + timedelta(seconds=seconds)
    dependency = Dependency(dependency_id(life.run.id, number), resume_at=resume_at)
    fields = {"reason": WaitReason.DURATION, "dependency": dependency, "delay_ms": DELAY_MS, "attempt": life.attempt}
    return a_wait(life.run.id, life.run.workload, number, **fields)
