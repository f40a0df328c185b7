"""An upstream that keeps the contract, as a state machine's rules drive it: what its runs did, said and heard."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.messages import Continue, Refused, Workload
from shared.vocabulary import CancelReason

Said = tuple[str, dict[str, Any]]
TIME: Final = timedelta(seconds=5)
ITEMS: Final = ("a", "b")


@dataclass
class ModelRun:
    """One run: which attempt lives, and what it waits for.

    Args:
        id: Its id.
        workload: The process of every attempt.
    """

    id: str
    workload: Workload
    attempt: int = 1
    number: int = 0
    waiting: int | None = None
    is_over: bool = False

    def dependency(self, number: int) -> str:
        """Return what a wait is for."""
        return f"{self.id}/{number}"


@dataclass
class Ledger:
    """What was sent, and what went on.

    Args:
        heard: By dependency: every continuation.
        went_on: By dependency: how often a process went on from it.
    """

    heard: dict[str, list[Continue]] = field(default_factory=dict[str, list[Continue]])
    went_on: dict[str, int] = field(default_factory=dict[str, int])


class UpstreamModel:
    """Makes the messages of its runs, and acts on what it hears.

    Args:
        runs: The runs.
    """

    def __init__(self, runs: list[ModelRun]) -> None:
        self.runs = {run.id: run for run in runs}
        self.ledger = Ledger()
        self.given_up: set[str] = set()

    def wait(
        self, run: ModelRun, reason: str, *, delay_ms: int, number: int | None = None, handshake: bool = False
    ) -> Said:
        """The run begins to wait."""
        if number is None:
            run.number += 1
            run.waiting = number = run.number
        dependency: dict[str, Any] = {"id": run.dependency(number)}
        if reason in {"WAIT_FOR_DURATION", "RETRYING_AFTER_FAILURE"}:
            dependency["resume_at"] = (datetime.now(UTC) + TIME).isoformat()
        elif reason == "WAIT_FOR_BATCH":
            dependency |= {"items": list(ITEMS), "sealed": delay_ms == 0}
        fields = {
            "run_id": run.id,
            "attempt": run.attempt,
            "wait_number": number,
            "reason": reason,
            "dependency": dependency,
            "workload": run.workload.to_json(),
            "delay_ms": delay_ms,
            "handshake": handshake,
        }
        return "checkpoint.defer", fields

    def ready(self, run: ModelRun, number: int) -> Said:
        """The run may be frozen in a wait, whether it was asked or not."""
        return "checkpoint.ready", {"run_id": run.id, "wait_number": number}

    def complete(self, dependency_id: str, **fields: Any) -> Said:
        """What a run waits for is over, or its batch moves on."""
        return "dependency.complete", {"dependency_id": dependency_id} | fields

    def cancel(self, run: ModelRun, reason: CancelReason, number: int | None) -> Said:
        """The upstream calls off, for a reason, up to a number if it takes one."""
        fields: dict[str, Any] = {"run_id": run.id, "reason": {"type": str(reason)}}
        match reason:
            case CancelReason.ATTEMPT_OVER:
                fields["attempt"] = run.attempt
                self.start_attempt(run)
            case CancelReason.MANUAL | CancelReason.WORKLOAD_DISCONNECTED:
                fields["wait_number"] = number or 1
            case _:
                fields["wait_number"] = number
                run.is_over = run.is_over or number is None
                self._give_up(run, run.number if number is None else number)
        return "checkpoint.cancel", fields

    def start_attempt(self, run: ModelRun) -> None:
        """The run is tried anew, and the upstream could not say so before: the next wait tells."""
        run.attempt += 1
        self._give_up(run, run.number)

    def refused(self, message: str | None, dependency_id: str | None) -> None:
        """A wait was refused: its run does not wait."""
        for run in self.runs.values():
            is_it = run.waiting is not None and run.dependency(run.waiting) == dependency_id
            if is_it and message == "checkpoint.defer":
                self._give_up(run, run.number)

    def _give_up(self, run: ModelRun, number: int) -> None:
        self.given_up |= {run.dependency(n) for n in range(1, number + 1)}
        if run.waiting is not None and run.waiting <= number:
            run.waiting = None

    def hear(self, reply: Continue | Refused) -> Said | None:
        """Act on a reply; a continuation is answered `done` also when it is a repeat or comes too late."""
        if isinstance(reply, Refused):
            self.refused(reply.message, reply.dependency_id)
            return None
        run = self.runs[reply.run_id]
        self.ledger.heard.setdefault(reply.dependency_id, []).append(reply)
        if reply.attempt < run.attempt or run.is_over:
            return None
        if reply.wait_number == run.waiting:
            run.waiting = None
            self.ledger.went_on[reply.dependency_id] = self.ledger.went_on.get(reply.dependency_id, 0) + 1
        return "continuation.done", {"continuation_id": reply.continuation_id}
