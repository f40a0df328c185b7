"""`checkpoints demo`: a platform in miniature, with real processes, that checks its runs in the end."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import typer
from rich.console import Console

from workers.cli.demo.play import play
from workers.cli.demo.summary import Summary, lines
from workers.cli.demo.system import a_system, is_named
from workers.cli.demo.workloads import kill_workloads
from workers.cli.kinds import DemoEngine
from workers.cli.up import DATABASE_URL, SIGNALS, Stopped, stop_here

DONE, FAILED = 0, 1


def run_demo(data: Path, *, runs: int, wanted: DemoEngine, as_json: bool = False) -> int:
    """Run the demo, print its summary, and return the exit code.

    Args:
        data: Folder of a running `up`, or of the servers that the demo starts.
        runs: How many runs.
        wanted: Which engine freezes the runs.
        as_json: The summary as JSON on standard output, all else on standard error.

    Raises:
        DeferredCheckpointError: There is no system to speak to, or none with the engine that is wanted,
            or it did not answer for long.
    """
    for one in SIGNALS:
        # Under `nohup` no SIGHUP is wanted.
        if signal.getsignal(one) is not signal.SIG_IGN or one is not signal.SIGHUP:
            signal.signal(one, stop_here)
    is_own = not is_named(data)
    up_env = None if os.environ.get(DATABASE_URL) else data / "up.env"
    folder = Path(tempfile.mkdtemp(prefix="checkpoints-demo-"))
    summary: Summary | None = None
    try:
        with a_system(data, wanted, lambda line: typer.echo(line, err=as_json)) as (settings, choice):
            console = Console(stderr=as_json)
            summary = play(settings, runs=runs, folder=folder, engine=choice.engine, console=console)
    except Stopped:
        # A summary that is there already is of no use to whoever does not wait for it.
        summary = None
    finally:
        # Also what workers were restoring until they were stopped.
        kill_workloads(folder)
        if summary is None or not summary.problems:
            shutil.rmtree(folder, ignore_errors=True)
    if summary is None:
        typer.echo("stopped; no process is left", err=True)
        return FAILED
    typer.echo(summary.to_json() if as_json else "\n".join(lines(summary, up_env=up_env, is_own=is_own)))
    if summary.problems:
        typer.echo(f"the ledgers are kept: {folder}", err=True)
    return FAILED if summary.problems else DONE
