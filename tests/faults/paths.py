"""The ways that a wait goes, each driven to its end whatever dies meanwhile; upstreams speak over the broker alone."""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import Jsonb
from system import ALL
from upstream import a_completion, a_wait, dependency_id
from waiting import wait_until

from shared.client import Cancel, CancelCause
from shared.settings import Settings
from shared.vocabulary import CancelReason
from tests.faults.ledger_platform import LedgerPlatform, Life
from tests.faults.supervision import Supervision
from workers.cli.kinds import WorkerKind

QUIET_SECONDS = 30.0
FAR_MS = 60_000


@dataclass(frozen=True, slots=True)
class Scene:
    """One wait of one run, and the workers, none of which runs yet."""

    settings: Settings
    platform: LedgerPlatform
    workers: Supervision
    gate: Path  # what the engine's command waits for, where a path has one
    fatal: dict[WorkerKind, list[str]] = field(default_factory=dict[WorkerKind, list[str]])

    def start(self, *kinds: WorkerKind) -> None:
        """Start workers; the first lives of some end at an effect."""
        for kind in kinds:
            self.workers.start(kind, fatal=self.fatal.get(kind, ()))

    def row(self) -> dict[str, Any]:
        """Return the checkpoint's row; empty while there is none."""
        with psycopg.connect(self.settings.database_url.get_secret_value()) as conn:
            found = conn.execute("SELECT to_jsonb(c) FROM checkpoint c").fetchall()
        return found[0][0] if found else {}

    def node_offers_it(self) -> bool:
        """Whether the node was seen with the engine of the runs."""
        query = "SELECT FROM node WHERE name = %s AND %s = ANY (engines)"
        with psycopg.connect(self.settings.database_url.get_secret_value()) as conn:
            return conn.execute(query, (self.settings.node, self.settings.engines)).rowcount == 1

    def is_frozen(self) -> bool:
        """Whether the run has an accepted checkpoint and its slot is free."""
        return self.row().get("status") == "accepted" and self.row().get("freed_at") is not None

    def goes_on(self, life: Life) -> None:
        """Wait until the run has gone on."""
        wait_until(lambda: self.platform.answer_all() is None and life.went_on_from(), seconds=QUIET_SECONDS)


def begin(scene: Scene, *, delay_ms: int = 0, handshake: bool = False) -> Life:
    """Let a run wait, on a node that offers its engine."""
    wait_until(scene.node_offers_it, seconds=QUIET_SECONDS)
    life = scene.platform.add(scene.platform.repeating)
    life.waits = 1
    life.door.defer(a_wait(life.run.id, life.run.workload, delay_ms=delay_ms, handshake=handshake))
    return life


def end(life: Life) -> None:
    """Say that what it waited for is over."""
    life.over_at[1] = 0.0
    life.door.complete(a_completion(life.run.id))


def cancel(scene: Scene, life: Life, reason: CancelReason) -> None:
    """Say that the run is over."""
    cause = CancelCause(type=reason)
    scene.platform.repeating.cancel(Cancel(v=1, run_id=life.run.id, reason=cause))


def live(scene: Scene) -> Life:
    """The wait ends in its delay."""
    scene.start(*ALL)
    life = begin(scene, delay_ms=FAR_MS)
    end(life)
    scene.goes_on(life)
    return life


def through_the_sql_door(scene: Scene) -> Life:
    """Registered and completed in transactions of the upstream's own: a sweeper sends what follows."""
    scene.start(WorkerKind.CHECKPOINT, WorkerKind.RESUME)
    life = scene.platform.add(scene.platform.sure)
    life.waits = 1
    life.over_at[1] = 0.0
    wait = {"v": 1, "run_id": life.run.id, "attempt": 1, "wait_number": 1, "reason": "WAIT_FOR_TASK"}
    wait |= {"dependency": {"id": dependency_id(life.run.id, 1)}, "delay_ms": FAR_MS}
    wait |= {"workload": life.run.workload.to_json()}
    with psycopg.connect(scene.settings.database_url.get_secret_value()) as conn:
        conn.execute("SELECT defer_checkpoint(%s)", [Jsonb(wait)])
        over = {"v": 1, "dependency_id": dependency_id(life.run.id, 1), "outcome_type": "success"}
        conn.execute("SELECT complete_dependency(%s)", [Jsonb(over)])
    scene.start(WorkerKind.SWEEPER)
    scene.goes_on(life)
    return life


def frozen_and_restored(scene: Scene) -> Life:
    """The wait outlives its delay."""
    scene.start(*ALL)
    life = begin(scene)
    wait_until(scene.is_frozen, seconds=QUIET_SECONDS)
    end(life)
    scene.goes_on(life)
    assert scene.platform.modes["live"] == 0
    return life


def asked_and_answered(scene: Scene) -> Life:
    """The run wants a handshake, is asked, and says that it is ready."""
    scene.start(*ALL)
    life = begin(scene, handshake=True)
    wait_until(scene.is_frozen, seconds=QUIET_SECONDS)
    end(life)
    scene.goes_on(life)
    assert scene.platform.modes["live"] == 0
    return life


def asked_and_silent(scene: Scene) -> Life:
    """The run wants a handshake, and its question or its answer is lost: its row is closed, and it lives."""
    scene.platform.answers_questions = False
    scene.start(*ALL)
    life = begin(scene, handshake=True)
    wait_until(lambda: scene.row().get("closed_at"), seconds=QUIET_SECONDS)
    assert (scene.row()["status"], scene.row()["epoch"]) == ("failed", 0)
    end(life)
    scene.goes_on(life)
    assert scene.platform.modes["restored"] == 0
    return life


def frozen_for_a_while(scene: Scene) -> Life:
    """The wait outlives its delay by so much that the node's agent looks at its process."""
    scene.start(*ALL)
    life = begin(scene)
    wait_until(lambda: scene.workers.starts(WorkerKind.CHECKPOINT) > 1 and scene.is_frozen(), seconds=QUIET_SECONDS)
    end(life)
    scene.goes_on(life)
    return life


def on_a_silent_node(scene: Scene) -> Life:
    """The run is on a node that was not seen for an hour: its upstream is told, and the wait ends live."""
    with psycopg.connect(scene.settings.database_url.get_secret_value()) as conn:
        conn.execute("INSERT INTO node VALUES ('silent', '{simulate}', now() - interval '1 hour')")
    scene.start(WorkerKind.CHECKPOINT, WorkerKind.RESUME)
    life = scene.platform.add(scene.platform.sure)
    life.waits = 1
    workload = msgspec.structs.replace(life.run.workload, node="silent")
    life.door.defer(a_wait(life.run.id, workload, delay_ms=FAR_MS))
    scene.start(WorkerKind.SWEEPER)
    wait_until(lambda: [told.run_id for told in scene.platform.out_of_reach if not told.final], seconds=QUIET_SECONDS)
    wait_until(lambda: scene.workers.starts(WorkerKind.SWEEPER) > 1, seconds=QUIET_SECONDS)
    end(life)
    scene.goes_on(life)
    return life


def refused(scene: Scene) -> Life:
    """The wait ends while its image is stored, and no token tells the engine: the offer comes too late."""
    scene.start(WorkerKind.CHECKPOINT, WorkerKind.SWEEPER)
    life = begin(scene)
    wait_until(scene.gate.with_suffix(".began").exists, seconds=QUIET_SECONDS)
    life.over_at[1] = 0.0
    over = {"v": 1, "dependency_id": dependency_id(life.run.id, 1), "outcome_type": "success"}
    with psycopg.connect(scene.settings.database_url.get_secret_value()) as conn:
        conn.execute("SELECT complete_dependency(%s)", [Jsonb(over)])
    scene.gate.touch()
    wait_until(lambda: scene.row().get("closed_at"), seconds=QUIET_SECONDS)
    scene.start(WorkerKind.RESUME)
    scene.goes_on(life)
    assert scene.platform.modes["restored"] == 0
    return life


def revoked(scene: Scene) -> Life:
    """The wait ends while its image is stored: a token ends the engine's command."""
    scene.start(*ALL)
    life = begin(scene)
    wait_until(scene.gate.with_suffix(".began").exists, seconds=QUIET_SECONDS)
    end(life)
    scene.goes_on(life)
    assert scene.platform.modes["restored"] == 0
    return life


def retried(scene: Scene) -> Life:
    """Every try fails."""
    scene.start(*ALL)
    life = begin(scene)
    wait_until(lambda: scene.row().get("status") == "deferred", seconds=QUIET_SECONDS)
    end(life)
    scene.goes_on(life)
    assert scene.platform.modes["restored"] == 0
    return life


def cancelled(scene: Scene) -> Life:
    """The run ends while it is frozen: it is let go, and has no continuation."""
    scene.start(WorkerKind.CHECKPOINT, WorkerKind.RESUME)
    life = begin(scene)
    wait_until(scene.is_frozen, seconds=QUIET_SECONDS)
    cancel(scene, life, CancelReason.RUN_CANCELLED)
    scene.start(WorkerKind.SWEEPER)
    wait_until(lambda: scene.row()["discarded_at"], seconds=QUIET_SECONDS)
    return life


def cancelled_while_held(scene: Scene) -> Life:
    """The run ends while it is restored and not permitted, and the worker that restored it is dead."""
    scene.start(*ALL)
    life = begin(scene)
    wait_until(scene.is_frozen, seconds=QUIET_SECONDS)
    end(life)
    wait_until(lambda: scene.workers.starts(WorkerKind.CHECKPOINT) > 1, seconds=QUIET_SECONDS)
    assert scene.row()["status"] == "restoring"
    over = {"v": 1, "run_id": life.run.id, "reason": {"type": "RUN_CANCELLED"}}
    with psycopg.connect(scene.settings.database_url.get_secret_value()) as conn:
        conn.execute("SELECT cancel_checkpoint(%s)", [Jsonb(over)])
    wait_until(lambda: scene.row()["discarded_at"], seconds=QUIET_SECONDS)
    assert not life.run.lives
    return life


def killed_in_the_dump(scene: Scene) -> Life:
    """A worker is killed while criu dumps: criu goes on with the lock, then another worker begins again."""
    scene.start(*ALL)
    life = begin(scene)
    wait_until(scene.gate.with_suffix(".began").exists, seconds=QUIET_SECONDS)
    scene.workers.kill(WorkerKind.CHECKPOINT, Random(0))
    scene.gate.touch()
    wait_until(scene.is_frozen, seconds=QUIET_SECONDS)
    end(life)
    scene.goes_on(life)
    assert scene.platform.modes["live"] == 0
    return life


def killed_in_the_restore(scene: Scene) -> Life:
    """A worker is killed while the daemon restores: that goes on, then another worker begins again."""
    scene.start(*ALL)
    life = begin(scene)
    wait_until(scene.is_frozen, seconds=QUIET_SECONDS)
    end(life)
    wait_until(scene.gate.with_suffix(".began").exists, seconds=QUIET_SECONDS)
    scene.workers.kill(WorkerKind.CHECKPOINT, Random(0))
    scene.gate.touch()
    scene.goes_on(life)
    assert scene.platform.modes["live"] == 0
    return life
