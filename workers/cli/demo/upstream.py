"""The upstream of a demo: a platform in miniature, which owns the runs and speaks the contract."""

import selectors
import time
from collections import Counter, defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final
from uuid import uuid4

import msgspec

from shared.client import Checkpoints, Continue
from shared.messages import Refused
from shared.settings import Settings
from shared.vocabulary import OutcomeType
from workers.cli.demo.ledger import WaitId
from workers.cli.demo.patience import Away, until_answered
from workers.cli.demo.plan import Wait
from workers.cli.demo.runs import Run, a_cancel, a_completion, a_wait, is_time
from workers.cli.demo.started import Started
from workers.engines.processes import is_alive, is_stopped

# Runs at once that do not stand frozen: a frozen one gives its slot to the next.
SLOTS: Final = 20
ALIVE_MAX: Final = 2 * SLOTS
TURN_SECONDS: Final = 0.05


class Upstream:
    """Starts runs and their tasks, registers their waits, completes them, and lets runs go on.

    Args:
        settings: Of the system that it speaks to.
        plans: The waits of each run.
        folder: For the ledgers.
    """

    def __init__(self, settings: Settings, plans: list[tuple[Wait, Wait]], folder: Path) -> None:
        name = f"demo-{uuid4().hex[:8]}"
        self._node = settings.node
        self._folder = folder
        self._errors = folder / "errors.log"
        # A queue of its own: it never takes another upstream's continuations.
        self._reply_to = f"continuations.{name}"
        self._runs = {f"{name}/run-{n}": Run(f"{name}/run-{n}", waits) for n, waits in enumerate(plans, start=1)}
        self._to_start = list(reversed(self._runs.values()))
        self._completed_at: dict[WaitId, float] = {}
        self.expected: dict[WaitId, Any] = {}
        self.troubles: list[str] = []
        # From the call of `complete` to the moment the run's process had its continuation, by mode.
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._selector = selectors.DefaultSelector()
        self._client = Checkpoints(settings)
        self._stopping = Event()
        self._listener = Thread(target=self._listen, name="continuations", daemon=True)
        self._listener.start()

    @property
    def run_ids(self) -> list[str]:
        """The ids of all runs."""
        return list(self._runs)

    @property
    def states(self) -> Counter[str]:
        """How many runs are in each state."""
        return Counter(run.state for run in self._runs.values())

    @property
    def unfinished(self) -> int:
        """How many runs have not ended."""
        return sum(run.state != "ended" for run in self._runs.values())

    def turn(self, *, frozen: int) -> bool:
        """Start the runs for which there is a slot, and do what processes ask for; return whether any did."""
        alive = sum(run.parent is not None for run in self._runs.values())
        room = min(SLOTS - (alive - frozen), ALIVE_MAX - alive, len(self._to_start))
        for _ in range(room):
            self._start(self._to_start.pop())
        ready = self._selector.select(TURN_SECONDS)
        for key, _ in ready:
            key.data()
        return bool(ready)

    def left(self) -> list[str]:
        """Return each process that is still there, a sentence each."""
        return [
            f"process {one.process.pid} of {run.id} {'stands still' if is_stopped(one.process) else 'is left'}"
            for run in self._runs.values()
            for one in run.processes
            if is_alive(one.process)
        ]

    def listen_no_more(self) -> None:
        """Let the listener end, which takes up to a second: every run has ended."""
        self._stopping.set()

    def close(self) -> None:
        """End whatever still runs: its waits are over, its processes are killed; then say good-bye."""
        for run in self._runs.values():
            if run.parent is not None:
                # So that no row is left that would be frozen or brought back.
                with suppress(Away):
                    until_answered(partial(self._client.cancel, a_cancel(run)), seconds=0)
            for process in run.processes:
                process.kill()
        self.listen_no_more()
        self._listener.join()
        self._selector.close()
        self._client.close()

    def _start(self, run: Run) -> None:
        ledger = self._folder / f"{run.id.rpartition('/')[2]}.ledger"
        kinds = [wait.kind for wait in run.waits]
        run.parent = Started("parent.py", run.id, str(ledger), *kinds, is_workload=True, errors=self._errors)
        run.state = "working"
        self._selector.register(run.parent, selectors.EVENT_READ, partial(self._hear_parent, run, run.parent))

    def _hear_parent(self, run: Run, parent: Started) -> None:
        lines = parent.heard()
        if lines is None:
            self._selector.unregister(parent)
            code = parent.end()
            run.parent, run.state = None, "ended"
            if code != 0:
                self.troubles.append(f"{run.id} ended with {code}: {self._errors.read_text(errors='replace')}")
            return
        for line in lines:
            match line.split("\t"):
                case ["start", number]:
                    self._start_task(run, int(number))
                case ["wait", number]:
                    self._defer(run, int(number), parent)
                case ["done", continuation, number, mode, moment]:
                    self._done(run, continuation, number=int(number), mode=mode, moment=float(moment))
                case _:
                    self.troubles.append(f"{run.id} said {line!r}, which nobody understands")

    def _start_task(self, run: Run, number: int) -> None:
        # Never by the run itself: a freeze stops all that descends from it.
        milliseconds = str(run.waits[number - 1].milliseconds)
        task = Started("task.py", f"{run.id}/task-{number}", milliseconds, is_workload=False, errors=self._errors)
        run.tasks[number] = task
        self._selector.register(task, selectors.EVENT_READ, partial(self._hear_task, run, number, task, []))

    def _hear_task(self, run: Run, number: int, task: Started, said: list[str]) -> None:
        lines = task.heard()
        if lines is None:
            self._selector.unregister(task)
            del run.tasks[number]
            self._complete(run, number, said if task.end() == 0 else [])
        else:
            said += lines

    def _complete(self, run: Run, number: int, said: list[str]) -> None:
        value = msgspec.json.decode(said[-1]) if said else None
        outcome_type = OutcomeType.SUCCESS if said else OutcomeType.CRASHED
        self.expected[run.id, number] = {"type": str(outcome_type), "value": value}
        completion = a_completion(run, number, outcome_type, value)
        self._completed_at[run.id, number] = time.monotonic()
        until_answered(partial(self._client.complete, completion))

    def _defer(self, run: Run, number: int, parent: Started) -> None:
        run.state = "waiting"
        if is_time(run, number):
            self.expected[run.id, number] = {}
        wait = a_wait(run, number, parent, node=self._node, reply_to=self._reply_to)
        until_answered(partial(self._client.defer, wait))

    def _done(self, run: Run, continuation: str, *, number: int, mode: str, moment: float) -> None:
        run.state = "working"
        completed_at = self._completed_at.pop((run.id, number), None)
        if completed_at is not None:
            self.seconds[mode].append(moment - completed_at)
        until_answered(partial(self._client.done, continuation))

    def _listen(self) -> None:
        for reply in self._client.replies(self._reply_to, stopping=self._stopping):
            match reply:
                case Continue():
                    self._go_on(reply)
                case Refused():
                    self.troubles.append(f"a message of {reply.run_id} was refused: {reply.problem}")
                case _:
                    pass

    def _go_on(self, reply: Continue) -> None:
        outcome = (reply.outcomes or {}).get(reply.dependency_id)
        text = msgspec.json.encode(outcome).decode() if outcome else "{}"
        parent = self._runs[reply.run_id].parent
        if parent is None or not parent.tell("go", reply.wait_number, reply.mode, reply.continuation_id, text):
            # It has ended, so it has passed this wait; its answer was lost.
            until_answered(partial(self._client.done, reply.continuation_id))
