"""Ids that look alike are different ids: nothing folds case, composes letters or trims."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from by_hand import LATER, ByHand
from runs import Run

from shared.client import Cancel, CancelCause
from shared.tokens import is_revoked
from shared.vocabulary import CancelReason, Mode
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken

ALIKE: Final = [
    "caf\u00e9",  # one character
    "cafe\u0301",  # a letter and its accent
    "CAF\u00c9",
    "caf\u00c9",
    "cafe",
    " caf\u00e9",
    "caf\u00e9 ",
    "caf\u00e9\u200b",  # a space of no width
    "\uff43\uff41\uff46\u00e9",  # wide letters
]


def test_runs_whose_ids_look_alike_never_meet(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Each has a wait, a lock, a checkpoint and a continuation of its own; the end of one is that of no other."""
    runs = {name: a_run() for name in ALIKE}
    for name, run in runs.items():
        run.id = name
        assert not hand.wait_for_task(run, delay_ms=0).duplicate
    with ExitStack() as stack:
        assert None not in [stack.enter_context(hand.node.lock(name)) for name in ALIKE]
    assert hand.checkpoint_worker() == [Taken.ACCEPTED] * len(ALIKE)

    ended, *others = ALIKE
    cancel = hand.client.cancel(Cancel(v=1, run_id=ended, reason=CancelCause(CancelReason.RUN_CANCELLED)))
    hand.sweeper(ahead=LATER)
    hand.checkpoint_worker()

    assert cancel is not None
    assert cancel.wait_ended
    assert runs[ended].goes_on()
    assert [is_revoked(hand.at.redis, hand.at.keys, run_id=name, wait_number=1) for name in ALIKE] == [
        name == ended for name in ALIKE
    ]
    assert [run.stands for name, run in runs.items() if name != ended] == [True] * len(others)
    for count, name in enumerate(others, start=1):
        hand.complete(runs[name])
        assert hand.checkpoint_worker() == [Restored.RESTORED]
        assert [(one.run_id, one.mode) for one in hand.continuations()][-1] == (name, Mode.RESTORED)
        assert len(hand.continuations()) == count
        assert runs[name].goes_on()
