"""The command line `checkpoints`. Its commands import what they need when they run, so that each starts fast."""

from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from shared.errors import DeferredCheckpointError
from shared.telemetry.secrets import hide_passwords
from shared.vocabulary import CancelReason, WaitReason
from workers.cli.exits import DONE, FAILED, exit_code
from workers.cli.kinds import WorkerKind

DATA = Path(".checkpoints")
PAGE = 50

app = typer.Typer(
    name="checkpoints",
    help="Checkpoints of waiting runs, deferred until a wait outlives its delay.",
    epilog="Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found, 4 a server cannot be reached. "
    "Servers: those that CHECKPOINT_DATABASE_URL and CHECKPOINT_BROKER_URL name, else those of the `up` that runs "
    "on .checkpoints.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
runs_app = typer.Typer(name="runs", help="What runs wait for.", no_args_is_help=True)
app.add_typer(runs_app)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line; its fields stay as they are.")]


def _show_version(is_asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if is_asked:
        typer.echo(version("deferred-checkpoints"))
        raise typer.Exit(DONE)


def _duration(text: str) -> timedelta:
    from workers.cli.printing import duration

    return duration(text)


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options of all commands."""


@app.command()
def up(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the embedded servers' data, of logs and of up.env.")
    ] = DATA,
) -> None:
    """Run everything here, on an embedded Postgres and Redis or on those that the environment names."""
    from workers.cli.up import run_up

    raise typer.Exit(run_up(data))


@app.command()
def worker(
    kind: Annotated[WorkerKind, typer.Argument(metavar="KIND", help="checkpoint, resume, sweeper or flower.")],
) -> None:
    """Be one worker process until SIGTERM."""
    from workers.cli.worker import run_worker

    raise typer.Exit(run_worker(kind))


@app.command()
def migrate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if something is missing.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print what would be run, for those who may not run it.")] = False,
) -> None:
    """Bring the database to this release's schema."""
    from workers.cli.migrations import run_migrate

    raise typer.Exit(run_migrate(is_check=check, prints_sql=sql))


@runs_app.command("list")
def runs_list(
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="waiting, deferred, taking, retrying, frozen, ending, restoring, continuing, done, cancelled"
        ),
    ] = None,
    reason: Annotated[WaitReason | None, typer.Option(help="Why they wait.")] = None,
    node: Annotated[str | None, typer.Option(help="Where they run.")] = None,
    older_than: Annotated[
        timedelta | None, typer.Option(parser=_duration, metavar="DURATION", help="Waiting for longer, such as 5m.")
    ] = None,
    after: Annotated[str | None, typer.Option(metavar="RUN", help="The last run of the page before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Runs of a page.")] = PAGE,
    as_json: Json = False,
) -> None:
    """List runs by their newest wait, the newest first."""
    from shared.db.runs import STATES, Which
    from workers.cli.runs import list_runs

    unknown = set(state or ()) - set(STATES)
    if unknown:
        raise typer.BadParameter(f"--state {', '.join(sorted(unknown))}: expected some of {', '.join(STATES)}.")
    list_runs(Which(state, reason, node, older_than), after=after, limit=limit, as_json=as_json)


@runs_app.command("show")
def runs_show(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    as_json: Json = False,
) -> None:
    """Show what a run is doing, how to find it in Flower, and what happened to it."""
    from workers.cli.runs import show_run

    show_run(run, as_json=as_json)


@app.command()
def watch(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    wait: Annotated[bool, typer.Option("--wait", help="Also before the run is known.")] = False,
    as_json: Json = False,
) -> None:
    """Follow what happens to a run until it waits for nothing."""
    from workers.cli.runs import watch_run

    watch_run(run, waits_for_it=wait, as_json=as_json)


@app.command()
def cancel(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    reason: Annotated[CancelReason, typer.Option(help="What ended, or why its checkpoint is called off.")],
    wait: Annotated[int | None, typer.Option(min=1, help="The wait; with MANUAL and WORKLOAD_DISCONNECTED.")] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="The attempt that is over; with ATTEMPT_OVER.")] = None,
    detail: Annotated[str | None, typer.Option(help="In words, at most 1,000 characters.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Call off a run's checkpoint, or end its waits, as its upstream would."""
    from workers.cli.cancel import Asked, cancel_run

    cancel_run(Asked(run, reason, wait, attempt, detail), is_sure=yes, as_json=as_json)


@app.command()
def settings(
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="All of them as a table for a page.")] = False,
) -> None:
    """Show the settings in force, secrets masked."""
    from workers.cli import settings_table

    if markdown:
        typer.echo(settings_table.markdown())
    else:
        settings_table.show_settings(as_json=as_json)


@app.command()
def doctor(
    as_json: Json = False,
) -> None:
    """Say what does not fit together here, and what to do; exit code 1 if something failed."""
    from workers.cli.doctor import examine

    raise typer.Exit(DONE if examine(as_json=as_json) else FAILED)


@app.command()
def demo(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of a running `up`, or of the servers that the demo starts.")
    ] = DATA,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="How many parent runs.")] = 32,
    engine: Annotated[
        str,
        typer.Option(help="`process` gives memory back, `simulate` only pauses; `auto` is the first where CRIU works."),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON; all else on standard error.")] = False,
) -> None:
    """Show a platform in miniature: real processes wait, most checkpoints are called off, the rest come back."""
    from workers.cli.demo import run_demo
    from workers.cli.demo.means import Wanted

    raise typer.Exit(run_demo(data, runs=runs, wanted=Wanted(engine), as_json=as_json))


@app.command()
def health(
    kind: Annotated[WorkerKind, typer.Option("--worker", help="Which of the Procfile's processes.")],
    needs_ready: Annotated[bool, typer.Option("--ready", help="A worker that waits for a server is not well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    data: Annotated[Path, typer.Option("--data", help="Folder of a running `up`.")] = DATA,
) -> None:
    """Tell whether this machine's workers of a kind do their work; exit 0 if so, 1 if not."""
    from workers.cli.health import run_health

    raise typer.Exit(run_health(kind, needs_ready=needs_ready, as_json=as_json, data=data))


def main() -> None:
    """Run a command; an error of ours is its message, not a traceback."""
    try:
        app()
    except DeferredCheckpointError as error:
        typer.echo(f"checkpoints: {hide_passwords(error.message)}", err=True)
        raise SystemExit(exit_code(error)) from None


if __name__ == "__main__":
    main()
