"""Looks at every state that can be reached, breadth first, so that the first trace found is a shortest one."""

import time
from collections import deque
from dataclasses import dataclass, field

from . import consumers, drains, faults, sweeper_and_agent, upstream, workers
from .checks import STUCK, broken, is_goal
from .configurations import Configuration
from .guards import Guards
from .moves import Moves, Step
from .state import ATTEMPT, FAULTS, PROCESS, RUNS, SIZE

PARTS = (upstream, drains, consumers, workers, faults, sweeper_and_agent)


@dataclass(slots=True)
class Found:
    """What a check has found."""

    states: int
    steps: int
    violation: str | None = None
    trace: list[str] = field(default_factory=list[str])
    is_whole: bool = True
    """False: a limit came first; what was seen is safe, and nothing is said of being stuck."""


def successors(setup: Configuration, guards: Guards, state: bytes) -> list[Step]:
    """Return every step that is possible in a state."""
    moves = Moves(setup, guards, state)
    for part in PARTS:
        part.steps(moves)
    return moves.found


def initial(setup: Configuration) -> bytes:
    """Return the state in which one process runs and nothing has happened."""
    s = [0] * SIZE
    s[PROCESS], s[ATTEMPT], s[FAULTS] = RUNS, 1, setup.faults
    return bytes(s)


class Search:
    """One check: the states seen so far, and how each was first reached."""

    def __init__(self, setup: Configuration, guards: Guards) -> None:
        self.setup = setup
        self.guards = guards
        self.states = [initial(setup)]
        self.numbers = {self.states[0]: 0}
        self.reached_from = [(-1, "")]
        self.reached_surely: list[list[int]] = [[]]
        self.steps = 0

    def run(self, *, states_max: int, seconds_max: float) -> Found:
        """Look at everything within the limits."""
        until = time.monotonic() + seconds_max
        waiting = deque([0])
        while waiting:
            if len(self.states) > states_max or time.monotonic() > until:
                return Found(len(self.states), self.steps, is_whole=False)
            violation = self._expand(waiting.popleft(), waiting)
            if violation:
                return self._found(violation, len(self.states) - 1)
        stuck = self._stuck()
        return self._found(STUCK, stuck) if stuck >= 0 else Found(len(self.states), self.steps)

    def _expand(self, n: int, waiting: deque[int]) -> str | None:
        for label, may_not_happen, state in successors(self.setup, self.guards, self.states[n]):
            self.steps += 1
            k = self.numbers.get(state)
            if k is None:
                k = len(self.states)
                self.numbers[state] = k
                self.states.append(state)
                self.reached_from.append((n, label))
                self.reached_surely.append([])
                violation = broken(self.setup, state)
                if violation:
                    return violation
                waiting.append(k)
            if not may_not_happen:
                self.reached_surely[k].append(n)
        return None

    def _stuck(self) -> int:
        """Return the first state from which no run of steps that will happen leads to the goal, or -1."""
        reaches = bytearray(len(self.states))
        todo = [k for k, s in enumerate(self.states) if is_goal(Moves(self.setup, self.guards, s))]
        for k in todo:
            reaches[k] = 1
        while todo:
            for k in self.reached_surely[todo.pop()]:
                if not reaches[k]:
                    reaches[k] = 1
                    todo.append(k)
        return reaches.find(0)

    def _found(self, violation: str, k: int) -> Found:
        trace: list[str] = []
        while k > 0:
            k, label = self.reached_from[k]
            trace.append(label)
        return Found(len(self.states), self.steps, violation, trace[::-1])


def explore(
    setup: Configuration, guards: Guards | None = None, *, states_max: int = 8_000_000, seconds_max: float = 3_600
) -> Found:
    """Check a configuration; without guards named, with all of them on."""
    return Search(setup, guards or Guards()).run(states_max=states_max, seconds_max=seconds_max)
