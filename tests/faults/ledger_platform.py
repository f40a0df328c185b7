"""A platform whose runs keep ledgers: hears continuations, gives them to the processes, answers for what they did."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final

from upstream import dependency_id

from shared.client import Checkpoints, Continue
from shared.messages import Prepare, Refused, Unreachable
from shared.messages import Taken as MessageTaken
from shared.queues import CONTINUATIONS
from shared.replies import take_replies
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.faults.doors import RECEIPTS, Door, RepeatingDoor, SureDoor
from tests.faults.freezable_run import FreezableContainer, FreezablePod, FreezableRun
from tests.faults.waiting_run import WaitingRun

LedgerRun = WaitingRun | FreezableRun | FreezableContainer | FreezablePod
StartRun = Callable[..., LedgerRun]
KINDS: Final[dict[str, StartRun]] = {
    EngineName.PROCESS: FreezableRun,
    EngineName.DOCKER: FreezableContainer,
}


@dataclass(slots=True)
class Life:
    """What the platform knows of one run."""

    run: LedgerRun
    door: Door
    over_at: dict[int, float] = field(default_factory=dict[int, float])  # when a wait's end was first told
    went_on_at: dict[int, float] = field(default_factory=dict[int, float])
    answered: int = 0  # lines of the ledger
    waits: int = 0  # that were begun
    attempt: int = 1
    ended: set[int] = field(default_factory=set[int])  # waits that were cancelled, and have no continuation

    def is_in_order(self) -> bool:
        """Whether the process went on from every wait that was not cancelled, once and in their order."""
        return self.went_on_from() == [one for one in range(1, self.waits + 1) if one not in self.ended]

    def went_on_from(self) -> list[int]:
        """Return the waits that the process itself wrote down to have gone on from."""
        return [number for word, number in self.run.ledger() if word == "went-on"]


class LedgerPlatform:
    """Runs with ledgers, and two doors: with a database, and over the broker alone.

    Args:
        settings: Of the system.
        folder: For the ledgers.
        start: Starts a run in a folder, on a node; without it, one that the settings' engine can freeze.
    """

    def __init__(self, settings: Settings, folder: Path, start: StartRun | None = None) -> None:
        folder.mkdir()
        self._start = start or KINDS.get(settings.engines, WaitingRun)
        self._settings = settings
        self._folder = folder
        self.stopping = Event()
        self._client = Checkpoints(settings)
        self.sure = SureDoor(self._client, self.stopping)
        self.repeating = RepeatingDoor(settings, self.stopping)
        self.lives: dict[str, Life] = {}
        self.problems: list[str] = []
        self.answers_questions = True
        self.out_of_reach: list[Unreachable] = []
        self.modes: Counter[str] = Counter()
        self._listeners = [Thread(target=self._listen, args=[queue]) for queue in (CONTINUATIONS, RECEIPTS)]
        for thread in self._listeners:
            thread.start()

    def add(self, door: Door) -> Life:
        """Start a run that speaks through a door."""
        run = self._start(self._folder / str(len(self.lives)), node=self._settings.node)
        life = self.lives[run.id] = Life(run, door)
        return life

    def answer(self, life: Life) -> None:
        """Answer `done` for each line of the ledger that is new."""
        lines = life.run.ledger()
        for word, number in lines[life.answered :]:
            if word == "went-on":
                life.went_on_at[number] = time.monotonic()
                if time.monotonic() < life.over_at.get(number, float("inf")):
                    self.problems.append(f"{life.run.id} went on from wait {number} before it was over")
            life.door.done(dependency_id(life.run.id, number))
        life.answered = len(lines)

    def answer_all(self) -> None:
        """Answer for every run: a continuation that comes again is answered again."""
        for life in self.lives.values():
            self.answer(life)

    def close(self) -> None:
        """End everything."""
        self.stopping.set()
        for thread in self._listeners:
            thread.join()
        for life in self.lives.values():
            life.run.end()
        self._client.close()
        self.repeating.close()

    def _listen(self, queue: str) -> None:
        for reply in take_replies(self._settings, queue, stopping=self.stopping):
            match reply:
                case Continue():
                    self.modes[reply.mode] += 1
                    self.lives[reply.run_id].run.hear(reply.wait_number, workload=reply.workload)
                case Prepare():
                    if self.answers_questions:
                        self.repeating.ready(reply.run_id, reply.wait_number)
                case Refused():
                    self.problems.append(f"refused: {reply}")
                    self.repeating.hear(reply)
                case Unreachable():
                    self.out_of_reach.append(reply)
                case MessageTaken():
                    self.repeating.hear(reply)
