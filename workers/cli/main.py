"""The command line `checkpoints`. Its commands import what they need when they run, so that each starts fast.

Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found, 4 a server cannot be reached.
"""

from pathlib import Path
from typing import Annotated

import typer

from shared.errors import DeferredCheckpointError

FAILED, UNREACHABLE = 1, 4
DATA = Path(".checkpoints")

app = typer.Typer(
    name="checkpoints",
    help="Checkpoints of waiting runs, deferred until a wait outlives its delay.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def checkpoints() -> None:
    """Keep the commands' names, also while there is only one."""


@app.command()
def up(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the embedded servers' data, of logs and of up.env.")
    ] = DATA,
) -> None:
    """Run everything here, on an embedded Postgres and Redis or on those that the environment names."""
    from workers.cli.up import run_up  # noqa: PLC0415 - only this command needs it

    raise typer.Exit(run_up(data))


def main() -> None:
    """Run a command; an error of ours is its message, not a traceback."""
    try:
        app()
    except DeferredCheckpointError as error:
        typer.echo(f"checkpoints: {error.message}", err=True)
        raise SystemExit(UNREACHABLE if error.code == "unreachable" else FAILED) from None
