"""The moments of a wait at which it may be called off, each reached by the stories themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from by_hand import AtEffect, ByHand
from runs import Run
from upstream import dependency_id

from shared.client import Cancel, CancelCause
from shared.db.deferrals import CancelAnswer
from shared.vocabulary import CancelReason
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken

# What ends a run's first wait.
ENDS: Final[list[dict[str, Any]]] = [
    *(
        {"reason": CancelCause(reason), "wait_number": number}
        for reason in (
            CancelReason.RUN_CANCELLED,
            CancelReason.RUN_CRASHED,
            CancelReason.RUN_EXPIRED,
            CancelReason.RUN_COMPLETED,
        )
        for number in (None, 1)
    ),
    {"reason": CancelCause(CancelReason.ATTEMPT_OVER), "attempt": 1},
]
# What calls off only its checkpoint.
CALLS_OFF: Final[list[dict[str, Any]]] = [
    {"reason": CancelCause(reason), "wait_number": 1}
    for reason in (CancelReason.WORKLOAD_DISCONNECTED, CancelReason.MANUAL)
]
# Makes the engine's program fail as long as it is there.
FAILS: Final = "fails"


@dataclass(frozen=True, slots=True)
class Scene:
    """A run of a system driven by hand, and what calls its first wait off."""

    hand: ByHand
    run: Run
    at_effect: AtEffect
    engine_folder: Path
    cancel: Callable[[], CancelAnswer]


def cancel_of(run: Run, fields: dict[str, Any]) -> Cancel:
    """Return one of these cancels, of a run's first wait."""
    return Cancel(v=1, run_id=run.id, **fields)


def in_the_delay(scene: Scene) -> CancelAnswer:
    """Call off when only the row is there, and a countdown that Redis holds."""
    scene.hand.wait_for_task(scene.run, delay_ms=30_000)
    assert len(scene.hand.held()) == 1
    return scene.cancel()


def in_back_off(scene: Scene) -> CancelAnswer:
    """Call off between two tries."""
    (scene.engine_folder / FAILS).touch()
    scene.hand.wait_for_task(scene.run, delay_ms=0)
    assert scene.hand.checkpoint_worker() == [Taken.RETRIED]
    (scene.engine_folder / FAILS).unlink()
    return scene.cancel()


def while_taken(scene: Scene) -> CancelAnswer:
    """Call off when the image is stored and not offered yet: the process stands."""
    answers: list[CancelAnswer] = []
    scene.hand.wait_for_task(scene.run, delay_ms=0)
    scene.at_effect("take.stored", lambda: answers.append(scene.cancel()))
    assert scene.hand.checkpoint_worker() == [Taken.REFUSED]
    return answers[0]


def while_frozen(scene: Scene) -> CancelAnswer:
    """Call off an accepted checkpoint."""
    _freeze(scene)
    return scene.cancel()


def while_restored(scene: Scene, *, expected: Restored) -> CancelAnswer:
    """Call off when the restored process is held, and nobody has permitted it to run."""
    answers: list[CancelAnswer] = []
    _freeze(scene)
    scene.hand.complete(scene.run)
    scene.at_effect("restore.held", lambda: answers.append(scene.cancel()))
    assert scene.hand.checkpoint_worker() == [expected]
    return answers[0]


def when_resumed(scene: Scene) -> CancelAnswer:
    """Call off a wait whose continuation is on its way."""
    scene.hand.wait_for_task(scene.run, delay_ms=30_000)
    scene.hand.complete(scene.run)
    return scene.cancel()


def when_done(scene: Scene) -> CancelAnswer:
    """Call off a wait whose run has gone on from it."""
    scene.hand.wait_for_task(scene.run, delay_ms=30_000)
    scene.hand.complete(scene.run)
    assert scene.hand.client.done(dependency_id(scene.run.id, 1))
    return scene.cancel()


when_permitted_nonetheless = partial(while_restored, expected=Restored.RESTORED)
when_held = partial(while_restored, expected=Restored.NOT_PERMITTED)


def _freeze(scene: Scene) -> None:
    scene.hand.wait_for_task(scene.run, delay_ms=0)
    assert scene.hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert scene.run.stands
