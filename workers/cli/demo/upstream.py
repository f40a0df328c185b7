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

from shared.client import Checkpoints, Continue, Workload
from shared.messages import Refused
from shared.settings import Settings
from shared.vocabulary import EngineName, Mode, OutcomeType
from workers.cli.demo.ledger import WaitId
from workers.cli.demo.memory import Memory
from workers.cli.demo.patience import Away, until_answered
from workers.cli.demo.pipes import Pipe
from workers.cli.demo.plan import Wait
from workers.cli.demo.runs import Run, a_cancel, a_completion, a_wait, is_time
from workers.cli.demo.tasks import TaskProcess
from workers.cli.demo.workloads import RunProcess, kill_workloads

# Runs at once that do not stand frozen: a frozen one gives its slot to the next.
SLOTS: Final = 12
BEGUN_MAX: Final = 2 * SLOTS
TURN_SECONDS: Final = 0.05


class Upstream:
    """Starts runs and their tasks, registers their waits, completes them, and lets runs go on.

    Args:
        settings: Of the system that it speaks to.
        plans: The waits of each run.
        folder: For ledgers and named pipes.
        engine: Who is to freeze the runs.
    """

    def __init__(self, settings: Settings, plans: list[tuple[Wait, Wait]], folder: Path, *, engine: EngineName) -> None:
        name = f"demo-{uuid4().hex[:8]}"
        self._node, self._engine = settings.node, engine
        self._folder = folder
        self._errors = folder / "errors.log"
        # A queue of its own: it never takes another upstream's continuations.
        self._reply_to = f"continuations.{name}"
        self._runs = {f"{name}-run-{n}": Run(f"{name}-run-{n}", waits) for n, waits in enumerate(plans, start=1)}
        self._to_start = list(reversed(self._runs.values()))
        self._completed_at: dict[WaitId, float] = {}
        self.expected: dict[WaitId, Any] = {}
        self.troubles: list[str] = []
        # From the call of `complete` to the moment the run's process had its continuation, by mode.
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.memory = Memory()
        self._pipe = Pipe(folder / "platform")
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ, self._hear_runs)
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
        begun = sum(run.process is not None for run in self._runs.values())
        room = min(SLOTS - (begun - frozen), BEGUN_MAX - begun, len(self._to_start))
        for _ in range(room):
            run = self._to_start.pop()
            kinds = [wait.kind for wait in run.waits]
            run.process, run.state = RunProcess(self._folder / run.id, *kinds, engine=self._engine), "working"
        ready = self._selector.select(TURN_SECONDS)
        for key, _ in ready:
            key.data()
        return bool(ready)

    def measure(self) -> int:
        """Return the bytes of memory that runs that wait hold now."""
        return sum(
            self.memory.look((run.id, run.waits_for), run.process.process)
            for run in self._runs.values()
            if run.state == "waiting" and run.process
        )

    def listen_no_more(self) -> None:
        """Let the listener end, which takes up to a second: every run has ended."""
        self._stopping.set()

    def close(self) -> None:
        """End whatever still runs: its waits are over, its processes are killed; then say good-bye. Once is enough."""
        begun = [run for run in self._runs.values() if run.process]
        for run in begun:
            # So that no row is left that would be frozen or brought back.
            with suppress(Away):
                until_answered(partial(self._client.cancel, a_cancel(run)), seconds=0)
            while run.tasks:
                run.tasks.popitem()[1].kill()
        self.listen_no_more()
        self._listener.join()
        kill_workloads(self._folder)
        for run in begun:
            if run.process:
                run.process.end()
                run.process = None
        self._selector.close()
        # Whoever is restored in this moment hears this, and ends.
        self._pipe.close()
        self._client.close()

    def _hear_runs(self) -> None:
        for name, *words in self._pipe.heard():
            run = self._runs[name]
            match words:
                case ["start", number] if run.process:
                    self._start_task(run, int(number), run.process)
                case ["wait", number] if run.process:
                    self._defer(run, int(number), run.process)
                case ["done", continuation, number, mode, moment]:
                    self._done(run, continuation, number=int(number), mode=mode, moment=float(moment))
                case ["ended"]:
                    self._end(run)
                case _:
                    self.troubles.append(f"{run.id} said {words}: {self._errors.read_text(errors='replace')}")
                    self._end(run)

    def _end(self, run: Run) -> None:
        run.state = "ended"
        if run.process:
            run.process.end()
            run.process = None

    def _start_task(self, run: Run, number: int, process: RunProcess) -> None:
        name = f"{run.id}-task-{number}"
        task = TaskProcess(name, run.waits[number - 1], process.process, errors=self._errors)
        run.tasks[number] = task
        self._selector.register(task, selectors.EVENT_READ, partial(self._hear_task, run, number, task))

    def _hear_task(self, run: Run, number: int, task: TaskProcess) -> None:
        if task.has_said_all():
            self._selector.unregister(task)
            del run.tasks[number]
            self._complete(run, number, task.result())

    def _complete(self, run: Run, number: int, result: bytes | None) -> None:
        value = msgspec.json.decode(result) if result else None
        outcome_type = OutcomeType.SUCCESS if result else OutcomeType.CRASHED
        self.expected[run.id, number] = {"type": str(outcome_type), "value": value}
        completion = a_completion(run, number, outcome_type, value)
        self._completed_at[run.id, number] = time.time()
        until_answered(partial(self._client.complete, completion))

    def _defer(self, run: Run, number: int, process: RunProcess) -> None:
        run.state, run.waits_for = "waiting", number
        if is_time(run, number):
            self.expected[run.id, number] = {}
        self.memory.waits((run.id, number), process.process)
        wait = a_wait(run, number, process.workload(self._node), reply_to=self._reply_to)
        until_answered(partial(self._client.defer, wait))

    def _done(self, run: Run, continuation: str, *, number: int, mode: str, moment: float) -> None:
        run.state = "working"
        if mode == Mode.RESTORED:
            self.memory.came_back((run.id, number))
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
        run = self._runs[reply.run_id]
        outcome = (reply.outcomes or {}).get(reply.dependency_id)
        text = msgspec.json.encode(outcome).decode() if outcome else "{}"
        process = run.process
        if process and reply.wait_number == run.waits_for:
            # A repeat of an earlier wait's tells where the run lived then.
            process.moved_to(Workload.from_json(reply.workload))
        if process is None or not process.tell("go", reply.wait_number, reply.mode, reply.continuation_id, text):
            # It has ended, so it has passed this wait; its answer was lost.
            until_answered(partial(self._client.done, reply.continuation_id))
