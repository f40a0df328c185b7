"""One message for every code of the contract that a message can be refused with, and what is to be said before it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import msgspec
from sql_door import Door

from shared.messages import Cancel, CancelCause, Complete, Defer, Dependency, Message, Workload
from shared.queues import DEFERRALS, RESUMES, TaskName
from shared.vocabulary import EngineName

Said = tuple[Door, dict[str, Any]]
TASKS: Final[dict[Door, TaskName]] = {
    "defer": TaskName.DEFER,
    "complete": TaskName.COMPLETE,
    "cancel": TaskName.CANCEL,
}
QUEUES: Final[dict[Door, str]] = {"defer": DEFERRALS, "complete": RESUMES, "cancel": DEFERRALS}
TYPES: Final[dict[Door, type[Message]]] = {"defer": Defer, "complete": Complete, "cancel": Cancel}
WORKLOAD: Final = Workload(EngineName.SIMULATE, "node-1", pid=7, started_at_ticks=70)


@dataclass(frozen=True, slots=True)
class Refusable:
    """A message that is refused.

    Args:
        said: The message, and the door that it is for.
        names: What the refusal's facts name; None: a rule says no, and the facts name the run or the batch.
        before: What makes it so.
        settings: The same.
    """

    said: Said
    names: str | None = None
    before: list[Said] = field(default_factory=list[Said])
    settings: Mapping[str, object] = field(default_factory=dict[str, object])


class OneRun:
    """A run of its own, and what may be said of it."""

    def __init__(self) -> None:
        self.id = f"run-{uuid4().hex}"

    def defer(self, number: int = 1, **fields: Any) -> Said:
        """Return a wait."""
        usual = {
            "v": 1,
            "run_id": self.id,
            "attempt": 1,
            "wait_number": number,
            "reason": "WAIT_FOR_TASK",
            "dependency": {"id": f"{self.id}/{number}"},
            "workload": WORKLOAD.to_json(),
        }
        return "defer", usual | fields

    def batch(self) -> Said:
        """Return a wait for a sealed batch of one item."""
        return self.defer(reason="WAIT_FOR_BATCH", dependency={"id": f"{self.id}/1", "items": ["a"]})

    def complete(self, **fields: Any) -> Said:
        """Return the completion of its first wait."""
        return "complete", {"v": 1, "dependency_id": f"{self.id}/1", "outcome_type": "success"} | fields

    def cancel(self, type_: str, **fields: Any) -> Said:
        """Return a cancel."""
        return "cancel", {"v": 1, "run_id": self.id, "reason": {"type": type_}} | fields


def refusable() -> dict[str, Refusable]:
    """Return a message for each code, of runs that nobody has heard of."""
    run, other = OneRun(), OneRun()
    return {
        "invalid-message": Refusable(run.defer(attempt=0), "attempt"),
        "unsupported-version": Refusable(run.cancel("RUN_CANCELLED", v=2), "v"),
        "too-large": Refusable(run.complete(outcome="x" * 70_000), "outcome"),
        "unknown-field": Refusable(run.complete(result=1), "result"),
        "waits-for-itself": Refusable(run.defer(dependency={"id": run.id}), "dependency.id"),
        "wait-conflict": Refusable(run.defer(key=f"{run.id}/b"), before=[run.defer(key=f"{run.id}/a")]),
        "checkpoint-in-progress": Refusable(run.defer(2), before=[run.defer()]),
        "run-over": Refusable(run.defer(), before=[run.cancel("RUN_COMPLETED")]),
        "attempt-superseded": Refusable(run.defer(), before=[run.cancel("ATTEMPT_OVER", attempt=1)]),
        "wait-number-too-low": Refusable(run.defer(4, attempt=2), before=[run.defer(5)]),
        "dependency-taken": Refusable(run.defer(dependency={"id": f"{other.id}/1"}), before=[other.defer()]),
        "unknown-item": Refusable(run.complete(item_id="z"), before=[run.batch()]),
        "batch-sealed": Refusable(run.complete(items_added=["b"], outcome_type=None), before=[run.batch()]),
        "too-many-waits": Refusable(
            run.defer(key=run.id), before=[other.defer(key=run.id)], settings={"open_waits_per_key": 1}
        ),
    }


def struct_of(said: Said) -> Any:
    """Return a message as a Python upstream writes it by hand: nothing checks it yet.

    Raises:
        TypeError: It has a field that the type lacks.
    """
    door, fields = said
    nested: dict[str, Any] = {}
    if door == "defer":
        nested = {"dependency": Dependency(**fields["dependency"]), "workload": WORKLOAD}
    elif door == "cancel":
        nested = {"reason": msgspec.convert(fields["reason"], CancelCause)}
    return TYPES[door](**(fields | nested))
