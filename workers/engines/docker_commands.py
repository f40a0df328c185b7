"""Commands of Docker that take long: run under the run's lock; what they say when they fail is made readable."""

from pathlib import Path
from threading import Event
from typing import Final, NoReturn

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from shared.errors import EngineUnavailable, EngineUnsupported
from workers.engines import command, criu
from workers.node.lock import NodeLock

# Docker 20.10 says this now and then of a checkpoint that it has just read (moby 42900); the next start works.
START_AGAIN: Final = "already exists"
TRIES_MAX, PAUSE_SECONDS = 5, 0.3
NO_CHECKPOINTS: Final = ("only supported with experimental", "criu binary", "executable file not found")


def dump(container: str, into: Path, *, lock: NodeLock, seconds: float) -> None:
    """Have the daemon dump a container into a new folder; it is left as it is, paused or not.

    Raises:
        EngineUnavailable: It failed; the message has what CRIU said.
        EngineUnsupported: It always will.
    """
    argv = ["checkpoint", "create", "--leave-running", "--checkpoint-dir", str(into.parent), container, into.name]
    _run(*argv, lock=lock, seconds=seconds)


def start(container: str, *, checkpoint: str, lock: NodeLock, seconds: float) -> None:
    """Have the daemon start a container from a dump that it keeps for it.

    Raises:
        EngineUnavailable: It failed.
        EngineUnsupported: It always will.
    """
    Retrying(
        retry=retry_if_exception(lambda error: START_AGAIN in str(error)),
        wait=wait_fixed(PAUSE_SECONDS),
        stop=stop_after_attempt(TRIES_MAX),
        reraise=True,
    )(_run, "start", "--checkpoint", checkpoint, container, lock=lock, seconds=seconds)


def _run(*arguments: str, lock: NodeLock, seconds: float) -> None:
    """Run a command; never ended by a revocation, since the daemon would go on with it."""
    try:
        command.run(["docker", *arguments], lock=lock, stop=Event(), seconds=seconds)
    except EngineUnavailable as error:
        _explain(f"docker {arguments[0]}", error)


def _explain(program: str, error: EngineUnavailable) -> NoReturn:
    said = str(error.facts.get("output", "")).strip() or error.message
    if any(words in said for words in NO_CHECKPOINTS):
        raise EngineUnsupported(f"Docker makes no checkpoints here: {said}", **error.facts) from error
    criu.explain_by_log(said, error)
    raise EngineUnavailable(f"{program} failed: {said}", **error.facts) from error
