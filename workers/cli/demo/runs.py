"""The runs of a demo as their platform knows them, and what it says of them by the contract."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from shared.client import Cancel, CancelCause, Complete, Defer, Dependency, Workload
from shared.vocabulary import CancelReason, OutcomeType, WaitReason
from workers.cli.demo.plan import DELAY_MS, Wait
from workers.cli.demo.tasks import TaskProcess
from workers.cli.demo.workloads import RunProcess

State = Literal["not started", "working", "waiting", "ended"]


@dataclass(slots=True)
class Run:
    """A run: what it is to do, its process while it has one, what it does now, and its tasks that have not ended."""

    id: str
    waits: tuple[Wait, ...]
    process: RunProcess | None = None
    state: State = "not started"
    waits_for: int = 0
    tasks: dict[int, TaskProcess] = field(default_factory=dict[int, TaskProcess])


def is_time(run: Run, number: int) -> bool:
    """Return whether a wait is for a time."""
    return run.waits[number - 1].kind == "time"


def a_wait(run: Run, number: int, workload: Workload, *, reply_to: str) -> Defer:
    """Return the registration of a run's wait."""
    ends_at: datetime | None = None
    if is_time(run, number):
        ends_at = datetime.now(UTC) + timedelta(milliseconds=run.waits[number - 1].milliseconds)
    return Defer(
        v=1,
        run_id=run.id,
        attempt=1,
        wait_number=number,
        reason=WaitReason.DURATION if ends_at else WaitReason.TASK,
        dependency=Dependency(_dependency_id(run, number), resume_at=ends_at),
        workload=workload,
        # The end of a time is known: if it is far enough away, nothing is gained by a delay.
        delay_ms=0 if ends_at else DELAY_MS,
        reply_to=reply_to,
    )


def a_completion(run: Run, number: int, outcome_type: OutcomeType, outcome: Any) -> Complete:
    """Return the completion of what a run's wait is for."""
    return Complete(v=1, dependency_id=_dependency_id(run, number), outcome_type=outcome_type, outcome=outcome)


def a_cancel(run: Run) -> Cancel:
    """Return what ends all waits of a run."""
    return Cancel(
        v=1, run_id=run.id, reason=CancelCause(type=CancelReason.RUN_CANCELLED, detail="the demo was stopped")
    )


def _dependency_id(run: Run, number: int) -> str:
    return f"{run.id}/wait-{number}"
