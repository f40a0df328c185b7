"""`checkpoints cancel`: call off a checkpoint, or end waits, as an upstream does."""

import sys
from dataclasses import dataclass

import typer

from shared.client import Cancel, CancelCause, Checkpoints
from shared.errors import BadRequest
from shared.vocabulary import CancelReason
from workers.cli.printing import print_json, printable
from workers.cli.target import target_settings


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says."""

    run_id: str
    reason: CancelReason
    wait_number: int | None
    attempt: int | None
    detail: str | None


def cancel_run(asked: Asked, *, is_sure: bool, as_json: bool) -> None:
    """Cancel, and print what that changed.

    Args:
        asked: What to cancel, and why.
        is_sure: Do not ask.
        as_json: Print the answer as JSON.

    Raises:
        Unreachable: Postgres does not answer.
        BadRequest: The reason needs, or forbids, a wait or an attempt; or nobody is there to be asked.
    """
    message = Cancel(
        v=1,
        run_id=asked.run_id,
        attempt=asked.attempt,
        wait_number=asked.wait_number,
        reason=CancelCause(asked.reason, asked.detail),
    )
    if not is_sure:
        _ask(asked)
    with Checkpoints(target_settings()) as checkpoints:
        answer = checkpoints.cancel(message)
    if answer is None:
        raise BadRequest("no database is known; set CHECKPOINT_DATABASE_URL.")
    if as_json:
        print_json([answer])
        return
    if answer.wait_ended:
        typer.echo(f"ended what {printable(asked.run_id)} waited for; it gets no continuation")
    elif answer.called_off:
        typer.echo(f"called off the checkpoint of {printable(asked.run_id)}; its wait goes on")
    else:
        typer.echo("nothing was open that this changes; it holds for waits that come later as far as it names them")


def _ask(asked: Asked) -> None:
    what = f"attempts up to {asked.attempt}" if asked.reason is CancelReason.ATTEMPT_OVER else "all of its waits"
    if asked.wait_number is not None:
        what = f"wait {asked.wait_number}"
    if not sys.stdin.isatty():
        raise BadRequest("nobody can be asked here; add --yes to cancel without a question.")
    typer.confirm(f"Cancel {printable(asked.run_id)}, {what}, as {asked.reason}?", abort=True)
