"""`checkpoints runs list|show` and `watch`: what runs wait for, and what happened to one."""

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from threading import Event as Signal
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import typer
from psycopg import Connection

from shared.db import runs
from shared.db.moment import is_of_the_moment
from shared.db.pool import connect
from shared.db.runs import ENDED, Event, Wait, Which
from shared.errors import DeferredCheckpointError, Unreachable
from shared.settings import Settings
from shared.task_ids import restore_id, take_id
from workers.cli.printing import distance, moment, print_json, print_table, printable
from workers.cli.target import target_settings

WATCH_SECONDS: Final = 0.3
AWAY_SECONDS: Final = 1.0


class UnknownRun(DeferredCheckpointError):
    """No wait of a run is kept."""

    code = "not-found"


def list_runs(which: Which, *, after: str | None, limit: int, as_json: bool) -> None:
    """Print runs by their newest wait, the newest first.

    Args:
        which: The filters.
        after: The last run of the page before.
        limit: Rows of a page.
        as_json: One object a line.

    Raises:
        Unreachable: Postgres does not answer.
        UnknownRun: `after` names none.
    """
    with _connected(target_settings()) as conn:
        if after is not None:
            newest = _waits(conn, after)[-1]
            which = Which(which.states, which.reason, which.node, which.older_than, (newest.registered_at, after))
        found = runs.listed(conn, which, limit=limit)
    if as_json:
        print_json(found)
        return
    now = datetime.now(UTC)
    print_table(
        ["RUN", "ATTEMPT", "WAIT", "STATE", "REASON", "NODE", "SINCE", "DUE"],
        [
            (
                one.run_id,
                one.attempt,
                one.wait_number,
                one.state,
                one.reason,
                one.node,
                distance(one.registered_at, now),
                distance(one.due_at, now) if one.due_at and one.state == "deferred" else "",
            )
            for one in found
        ],
    )
    if len(found) == limit and sys.stdout.isatty():
        typer.echo(f"\nmore: --after {printable(found[-1].run_id)}")


def show_run(run_id: str, *, as_json: bool) -> None:
    """Print what a run is doing, how to find it in Flower, and what happened to it.

    Raises:
        Unreachable: Postgres does not answer.
        UnknownRun: No wait of it is kept.
    """
    settings = target_settings()
    with _connected(settings) as conn:
        found = _waits(conn, run_id)
        events = runs.timeline(conn, run_id)
    newest = found[-1]
    if as_json:
        waits = [asdict(wait) | {"tasks": _tasks(wait)} for wait in found]
        print_json([{"run_id": run_id, "state": newest.state, "waits": waits, "timeline": events}])
        return
    typer.echo(f"{printable(run_id)}: {newest.state} ({runs.STATES[newest.state]})")
    facts: dict[str, object] = {
        "attempt": newest.attempt,
        "wait": f"{newest.wait_number} {newest.reason} for {newest.dependency_id}",
        "workload": newest.workload,
        "delay": f"{newest.delay_ms} ms by {newest.delay_from}" + (f" ({newest.why})" if newest.why else ""),
        "checkpoint": newest.checkpoint_status and f"{newest.checkpoint_id} {newest.checkpoint_status}",
        "frozen since": newest.frozen_since and moment(newest.frozen_since),
        "node seen": newest.node_seen_at and moment(newest.node_seen_at),
        "error": newest.error,
        **{f"{name} task": _link(id_) for name, id_ in _tasks(newest).items()},
    }
    for name, value in facts.items():
        if value is not None:
            typer.echo(f"  {name:<13} {printable(value)}")
    typer.echo()
    _print_events(events)


def watch_run(run_id: str, *, waits_for_it: bool, as_json: bool) -> None:
    """Print each event of a run once, as it happens, until the run waits for nothing.

    Args:
        run_id: The run.
        waits_for_it: Also before the run is known.
        as_json: One object a line.

    Raises:
        UnknownRun: It is not known, and is not waited for.
    """
    settings = target_settings()
    seen: set[tuple[int, str, datetime]] = set()
    while True:
        try:
            with _connected(settings) as conn:
                _follow(conn, run_id, seen, waits_for_it=waits_for_it, as_json=as_json)
        except (psycopg.Error, Unreachable) as error:
            if not (isinstance(error, Unreachable) or is_of_the_moment(error)) or not (seen or waits_for_it):
                raise
            typer.echo(f"checkpoints: Postgres is away: {printable(error).strip()}", err=True)
            Signal().wait(AWAY_SECONDS)
        else:
            return


def _follow(
    conn: Connection[Any], run_id: str, seen: set[tuple[int, str, datetime]], *, waits_for_it: bool, as_json: bool
) -> None:
    while True:
        found = runs.waits(conn, run_id)
        if not found and not waits_for_it:
            raise _unknown(run_id)
        now = runs.clock(conn)
        events = [one for one in runs.timeline(conn, run_id) if one.at <= now]
        fresh = [one for one in events if (one.wait_number, one.event, one.at) not in seen]
        seen.update((one.wait_number, one.event, one.at) for one in fresh)
        if as_json:
            print_json(fresh)
        else:
            for one in fresh:
                typer.echo("  ".join(_line(one)))
        sys.stdout.flush()
        if found and found[-1].state in ENDED:
            return
        Signal().wait(WATCH_SECONDS)


def _print_events(events: Sequence[Event]) -> None:
    print_table(["AT", "WAIT", "EVENT", "DETAIL"], map(_line, events))


def _line(event: Event) -> tuple[str, str, str, str]:
    detail = {name: value for name, value in (event.detail or {}).items() if value is not None}
    return moment(event.at), str(event.wait_number), event.event, printable(detail) if detail else ""


def _tasks(wait: Wait) -> dict[str, str]:
    """Return the ids under which Flower shows what was done for a wait."""
    tasks = {"take": take_id(wait.run_id, wait.wait_number)}
    if wait.checkpoint_status in {"restoring", "restored"} and wait.epoch:
        tasks["restore"] = restore_id(wait.run_id, wait.wait_number, wait.epoch)
    return tasks


def _link(task_id: str) -> str:
    """Return where Flower shows a task, without its password; the id alone where no Flower is known."""
    flower = urlsplit(os.environ.get("CHECKPOINT_FLOWER_URL", ""))
    if not flower.hostname:
        return task_id
    return f"{flower.scheme}://{flower.hostname}:{flower.port or 80}/task/{task_id}"


def _waits(conn: Connection[Any], run_id: str) -> list[Wait]:
    found = runs.waits(conn, run_id)
    if not found:
        raise _unknown(run_id)
    return found


def _unknown(run_id: str) -> UnknownRun:
    return UnknownRun(
        f"no wait of run {printable(run_id)} is kept; expected a run id as the upstream gave it. "
        "`checkpoints runs list` shows those that are; finished ones are kept for CHECKPOINT_KEEP_FINISHED_MS."
    )


@contextmanager
def _connected(settings: Settings) -> Generator[Connection[Any]]:
    try:
        conn = connect(settings, name="command line")
    except psycopg.OperationalError as error:
        raise Unreachable(f"Postgres cannot be used: {str(error).strip()}. Check CHECKPOINT_DATABASE_URL.") from error
    with conn:
        yield conn
