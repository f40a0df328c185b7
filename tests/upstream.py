"""An upstream of tests: registers waits, hears what comes back, and writes down what went on."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

from runs import WaitingRun
from waiting import wait_until

from shared.client import Checkpoints, Complete, Continue, Defer, Dependency
from shared.db.deferrals import DeferAnswer
from shared.messages import Prepare, Refused, Taken, Unreachable, Workload
from shared.settings import Settings
from shared.vocabulary import OutcomeType, WaitReason


class Upstream:
    """Hears everything on `continuations`; answers `done` unless told not to.

    Args:
        settings: Of the test's system.
    """

    def __init__(self, settings: Settings) -> None:
        self.client = Checkpoints(settings)
        self.answers_done = True
        self.heard: defaultdict[tuple[str, int], list[Continue]] = defaultdict(list)
        self.questions: list[Prepare] = []
        self.refused: list[Refused] = []
        self.receipts: list[Taken] = []
        self.out_of_reach: defaultdict[tuple[str, int], list[Unreachable]] = defaultdict(list)
        self._stopping = Event()
        self._listener = Thread(target=self._listen, name="upstream", daemon=True)
        self._listener.start()

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        self._listener.join()
        self.client.close()

    def wait_for_task(self, run: WaitingRun, number: int = 1, **fields: Any) -> DeferAnswer:
        """Register that a run waits for a task; `fields` are those of `Defer`."""
        wait = a_wait(run.id, run.workload, number, **fields)
        answer = self.client.defer(wait)
        assert answer is not None
        return answer

    def wait_for_time(self, run: WaitingRun, seconds: float, number: int = 1, **fields: Any) -> DeferAnswer:
        """Register that a run waits for a time from now."""
        resume_at = datetime.now(UTC) + timedelta(seconds=seconds)
        dependency = Dependency(dependency_id(run.id, number), resume_at=resume_at)
        return self.wait_for_task(run, number, reason=WaitReason.DURATION, dependency=dependency, **fields)

    def complete(self, run: WaitingRun, number: int = 1, outcome: Any = None) -> None:
        """Say that what the run's wait is for is over, with success."""
        self.client.complete(a_completion(run.id, number, outcome))

    def continuation(self, run: WaitingRun, number: int = 1) -> Continue:
        """Wait for the continuation of a wait."""
        return wait_until(lambda: self.heard[run.id, number])[0]

    def _listen(self) -> None:
        for reply in self.client.replies(stopping=self._stopping):
            match reply:
                case Continue():
                    self.heard[reply.run_id, reply.wait_number].append(reply)
                    if self.answers_done:
                        self.client.done(reply.continuation_id)
                case Prepare():
                    self.questions.append(reply)
                case Refused():
                    self.refused.append(reply)
                case Taken():
                    self.receipts.append(reply)
                case Unreachable():
                    self.out_of_reach[reply.run_id, reply.wait_number].append(reply)
                    if reply.final and self.answers_done:
                        self.client.done(reply.continuation_id)


def dependency_id(run_id: str, number: int) -> str:
    """Return the id of what a run's wait is for."""
    return f"{run_id}/wait-{number}"


def a_wait(run_id: str, workload: Workload, number: int = 1, **fields: Any) -> Defer:
    """Return a wait for a task, with whatever fields are given in place of its own."""
    usual: dict[str, Any] = {
        "v": 1,
        "run_id": run_id,
        "attempt": 1,
        "wait_number": number,
        "reason": WaitReason.TASK,
        "dependency": Dependency(dependency_id(run_id, number)),
        "workload": workload,
    }
    return Defer(**(usual | fields))


def a_completion(run_id: str, number: int = 1, outcome: Any = None) -> Complete:
    """Return the successful completion of what a wait is for."""
    return Complete(v=1, dependency_id=dependency_id(run_id, number), outcome_type=OutcomeType.SUCCESS, outcome=outcome)
