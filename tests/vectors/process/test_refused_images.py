"""An image that is not what was accepted: never restored, told to the run's upstream, and the node is left clean."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.request import url2pathname

import pytest
from by_hand import LATER, ByHand
from criu import stored_in
from process_runs import CountingRun
from pydantic import SecretStr

from shared.client import Cancel, CancelCause
from shared.vocabulary import CancelReason, Unreached
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken
from workers.images.store import ARCHIVE, MANIFEST
from workers.node.node import Node


@pytest.fixture
def a_frozen_run(hand: ByHand, a_counting_run: Callable[[], CountingRun]) -> CountingRun:
    """A run that is frozen away, and whose wait ended."""
    run = a_counting_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    hand.complete(run)
    return run


def change_a_byte(path: Path) -> Callable[[], object]:
    """Change a byte in the middle of a file; returns what undoes it."""
    was = path.read_bytes()
    middle = len(was) // 2
    path.write_bytes(was[:middle] + bytes([was[middle] ^ 1]) + was[middle + 1 :])
    return lambda: path.write_bytes(was)


@pytest.mark.parametrize("part", [ARCHIVE, MANIFEST])
def test_a_run_whose_image_was_changed_is_told_of_until_it_is_mended(
    hand: ByHand, a_frozen_run: CountingRun, part: str
) -> None:
    """Nothing of it runs and no file is left of the try; with the right bytes it goes on where it was."""
    images = stored_in(hand.at.settings)
    (image,) = images
    mend = change_a_byte(store_of(hand) / image / part)

    for tries in range(1, 3):
        assert hand.checkpoint_worker() == [Restored.GIVEN_BACK]

        assert [(told.run_id, told.code, told.final) for told in hand.out_of_reach()] == [
            (a_frozen_run.id, Unreached.RESTORE_REFUSED, False)
        ]
        assert image in hand.out_of_reach()[0].problem
        assert a_frozen_run.is_gone
        assert stored_in(hand.at.settings) == images
        hand.lose_messages()
        hand.sweeper(ahead=LATER * tries)
    mend()

    assert hand.checkpoint_worker() == [Restored.RESTORED]
    a_frozen_run.went_on(hand.continuation())
    assert hand.out_of_reach() == []


def test_a_key_that_the_node_lost_loses_no_run(hand: ByHand, a_frozen_run: CountingRun) -> None:
    """It looks like a changed image: however often it is tried so, with the key the run is brought back."""
    other_key = hand.at.settings.model_copy(update={"image_key": SecretStr("a key of another place")})
    misled = ByHand(Node(replace(hand.at, settings=other_key)), hand.client)
    assert misled.checkpoint_worker() == [Restored.GIVEN_BACK]
    assert [told.code for told in hand.out_of_reach()] == [Unreached.RESTORE_REFUSED]
    hand.lose_messages()
    hand.sweeper(ahead=LATER)

    assert hand.checkpoint_worker() == [Restored.RESTORED]
    a_frozen_run.went_on(hand.continuation())


def test_an_upstream_that_gives_the_run_up_has_its_image_removed(hand: ByHand, a_frozen_run: CountingRun) -> None:
    """The end of the attempt answers for it: nothing is kept, nothing is tried or told again."""
    (image,) = stored_in(hand.at.settings)
    change_a_byte(store_of(hand) / image / ARCHIVE)
    assert hand.checkpoint_worker() == [Restored.GIVEN_BACK]
    hand.lose_messages()

    hand.client.cancel(
        Cancel(v=1, run_id=a_frozen_run.id, attempt=1, reason=CancelCause(type=CancelReason.ATTEMPT_OVER))
    )
    hand.sweeper(ahead=LATER)
    hand.checkpoint_worker()

    assert stored_in(hand.at.settings) == []
    assert (hand.out_of_reach(), hand.continuations()) == ([], [])


def store_of(hand: ByHand) -> Path:
    """Return the folder of a system's images."""
    return Path(url2pathname(hand.at.settings.image_store.removeprefix("file://")))
