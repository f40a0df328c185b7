"""The command line `checkpoints`. Its commands import what they need when they run, so that each starts fast.

Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found, 4 a server cannot be reached.
"""

from pathlib import Path
from typing import Annotated

import typer

from shared.errors import DeferredCheckpointError
from workers.cli.kinds import WorkerKind

FAILED, UNREACHABLE = 1, 4
DATA = Path(".checkpoints")

app = typer.Typer(
    name="checkpoints",
    help="Checkpoints of waiting runs, deferred until a wait outlives its delay.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def up(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the embedded servers' data, of logs and of up.env.")
    ] = DATA,
) -> None:
    """Run everything here, on an embedded Postgres and Redis or on those that the environment names."""
    from workers.cli.up import run_up  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(run_up(data))


@app.command()
def worker(
    kind: Annotated[WorkerKind, typer.Argument(help="Which of the Procfile's processes.")],
) -> None:
    """Be one worker process until SIGTERM."""
    from workers.cli.worker import run_worker  # noqa: PLC0415 - only this command needs it

    run_worker(kind)


@app.command()
def migrate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if something is missing.")] = False,  # noqa: FBT002 - a flag
    sql: Annotated[bool, typer.Option("--sql", help="Print what would be run, for those who may not run it.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Bring the database to this release's schema."""
    from workers.cli.migrations import run_migrate  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(run_migrate(is_check=check, prints_sql=sql))


@app.command()
def demo(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of a running `up`, or of the servers that the demo starts.")
    ] = DATA,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="How many parent runs.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON; all else on standard error.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Show a platform in miniature: real processes wait, most checkpoints are called off, the rest come back."""
    from workers.cli.demo import run_demo  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(run_demo(data, runs=runs, as_json=as_json))


@app.command()
def health(
    kind: Annotated[WorkerKind, typer.Option("--worker", help="Which of the Procfile's processes.")],
    needs_ready: Annotated[bool, typer.Option("--ready", help="A worker that waits for a server is not well.")] = False,  # noqa: FBT002 - a flag
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,  # noqa: FBT002 - a flag
    data: Annotated[Path, typer.Option("--data", help="Folder of a running `up`.")] = DATA,
) -> None:
    """Tell whether this machine's workers of a kind do their work; exit 0 if so, 1 if not."""
    from workers.cli.health import run_health  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(run_health(kind, needs_ready=needs_ready, as_json=as_json, data=data))


def main() -> None:
    """Run a command; an error of ours is its message, not a traceback."""
    try:
        app()
    except DeferredCheckpointError as error:
        typer.echo(f"checkpoints: {error.message}", err=True)
        raise SystemExit(UNREACHABLE if error.code == "unreachable" else FAILED) from None


if __name__ == "__main__":
    main()
