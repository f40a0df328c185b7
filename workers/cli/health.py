"""`checkpoints health`: whether this machine's workers of a kind do their work, by their heartbeat files alone.

Run every few seconds by orchestrators, so it starts fast: no settings, no Celery, no server is asked.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from shared import heartbeat
from shared.heartbeat import STALE_SECONDS, Heartbeat
from workers.cli.kinds import WorkerKind

HEALTHY, UNHEALTHY = 0, 1
FOLDER = "CHECKPOINT_HEALTH_FOLDER"


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """One living worker process.

    Args:
        pid: Its process.
        alive: It tells in time that all its loops turn; if not, only a new start helps.
        ready: It can do its work now.
        problems: What is wrong.
    """

    pid: int
    alive: bool
    ready: bool
    problems: list[str]


def run_health(kind: WorkerKind, *, needs_ready: bool, as_json: bool, data: Path) -> int:
    """Print how the workers of a kind are; return 0 if there is one and all are well, else 1.

    Args:
        kind: Which workers.
        needs_ready: A worker that waits for a server is not well.
        as_json: For machines.
        data: Folder of an `up`, whose workers are meant if the environment names no health folder.
    """
    folder = health_folder(data)
    beats = heartbeat.read_all(folder, kind)
    workers = [judge(beat) for beat in beats if heartbeat.lives(beat)]
    is_healthy = bool(workers) and all(one.alive and (one.ready or not needs_ready) for one in workers)
    missing = None if workers else why_none(folder, kind, beats)
    if as_json:
        told = {"kind": kind, "healthy": is_healthy, "problem": missing, "workers": [asdict(one) for one in workers]}
        typer.echo(json.dumps(told))
    else:
        for line in lines(kind, workers, missing):
            typer.echo(line)
    return HEALTHY if is_healthy else UNHEALTHY


def health_folder(data: Path) -> Path:
    """Return where the heartbeats lie: as the environment says, else those of an `up`, else the default."""
    if named := os.environ.get(FOLDER):
        return Path(named)
    own = data / "health"
    return own if own.is_dir() else heartbeat.default_folder()


def judge(beat: Heartbeat) -> WorkerHealth:
    """Return how a living process is, by what it last said and how long ago that was."""
    age = (heartbeat.now() - beat.at).total_seconds()
    # Also from the future: then the clock was set back, and nobody knows how old it is.
    if abs(age) > STALE_SECONDS:
        stale = f"stale for {age:.0f} s: the process lives, but its heartbeat has stopped"
        return WorkerHealth(beat.pid, alive=False, ready=False, problems=[stale, *beat.problems])
    return WorkerHealth(beat.pid, alive=beat.alive, ready=beat.ready, problems=beat.problems)


def why_none(folder: Path, kind: WorkerKind, beats: list[Heartbeat]) -> str:
    """Say that no worker lives, and what is known of the last."""
    if not beats:
        return f"missing: no {kind} worker has written a heartbeat to {folder}"
    last = max(beats, key=lambda beat: beat.at)
    return f"missing: no {kind} worker lives; the last, process {last.pid}, was there at {last.at.isoformat()}"


def lines(kind: WorkerKind, workers: list[WorkerHealth], missing: str | None) -> list[str]:
    """Return what people read: a line for each worker, and one for each of its problems."""
    if missing is not None:
        return [missing]
    told: list[str] = []
    for one in workers:
        state = "ready" if one.ready else "alive, not ready" if one.alive else "not alive"
        told.append(f"{kind} {one.pid}: {state}")
        told += [f"  {problem}" for problem in one.problems]
    return told
