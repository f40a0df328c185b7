"""What every engine promises, shown with a process that counts: it never counts while it is frozen."""

from threading import Event

import msgspec
import pytest

from shared.errors import EngineRevoked, RunGone
from shared.messages import Workload
from tests.engines.conftest import EngineCase
from workers.engines.engine import Image
from workers.node.lock import NodeLock

NAME = "17-1"
NEVER = Event()


def later_process_with_the_same_pid(workload: Workload) -> Workload:
    """Return what an upstream said of an earlier process that had this pid."""
    assert workload.started_at_ticks is not None
    return msgspec.structs.replace(workload, started_at_ticks=workload.started_at_ticks - 1)


def test_a_node_is_told_whether_it_can(engine_case: EngineCase) -> None:
    """A node that can do what the engine needs passes its probe."""
    engine_case.engine.probe()


def test_a_frozen_workload_stands_as_a_whole(engine_case: EngineCase, lock: NodeLock) -> None:
    """Its threads and children stand too, and it goes on later where it stood, without a gap."""
    counting = engine_case.start()

    engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)

    counting.assert_stands()
    assert engine_case.engine.is_standing(counting.workload)

    engine_case.engine.thaw(counting.workload)

    counting.assert_runs()
    assert not engine_case.engine.is_standing(counting.workload)


def test_every_call_may_come_twice(engine_case: EngineCase, lock: NodeLock) -> None:
    """Freezing what is frozen and thawing what runs change nothing."""
    counting = engine_case.start()

    engine_case.engine.thaw(counting.workload)
    counting.assert_runs()
    for _ in range(2):
        engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)
    counting.assert_stands()
    for _ in range(2):
        engine_case.engine.thaw(counting.workload)

    counting.assert_runs()


def test_a_workload_stands_while_it_is_stored_and_after(engine_case: EngineCase, lock: NodeLock) -> None:
    """Nothing of it runs between the dump and the answer: an accepted image must have no running twin."""
    counting = engine_case.start()
    engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)

    image = engine_case.engine.store(counting.workload, name=NAME, lock=lock, stop=NEVER)

    counting.assert_stands()
    assert NAME in image.location


def test_each_epoch_stores_its_own_image(engine_case: EngineCase, lock: NodeLock) -> None:
    """A loser that discards its image does not touch the winner's; discarding twice is no error."""
    counting = engine_case.start()
    engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)
    first = engine_case.engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)
    second = engine_case.engine.store(counting.workload, name="17-2", lock=lock, stop=NEVER)

    for _ in range(2):
        engine_case.engine.discard(first.location)

    assert first.location != second.location
    engine_case.engine.kill(counting.workload)
    held = engine_case.engine.restore(second, name="17-3", workload=counting.workload, lock=lock, stop=NEVER)
    assert engine_case.engine.is_standing(held)


def test_a_restored_workload_is_held_until_it_is_permitted(engine_case: EngineCase, lock: NodeLock) -> None:
    """It goes on where it was frozen: no number twice, none left out."""
    counting = engine_case.start()
    engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)
    image = engine_case.engine.store(counting.workload, name=NAME, lock=lock, stop=NEVER)
    for _ in range(2):
        engine_case.engine.kill(counting.workload)
    if engine_case.engine.leaves_standing:
        counting.assert_stands()

    held = engine_case.engine.restore(image, name="17-2", workload=counting.workload, lock=lock, stop=NEVER)

    assert engine_case.engine.is_standing(held)
    counting.assert_stands()
    for _ in range(2):
        engine_case.engine.permit(held)
    counting.assert_runs()


def test_a_repeated_restore_does_not_stop_what_was_permitted(engine_case: EngineCase, lock: NodeLock) -> None:
    """A worker that died after the permit leaves a message behind: the run it finds goes on undisturbed."""
    counting = engine_case.start()
    engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)
    image = engine_case.engine.store(counting.workload, name=NAME, lock=lock, stop=NEVER)
    engine_case.engine.kill(counting.workload)
    held = engine_case.engine.restore(image, name="17-2", workload=counting.workload, lock=lock, stop=NEVER)
    engine_case.engine.permit(held)

    again = engine_case.engine.restore(image, name="17-2", workload=counting.workload, lock=lock, stop=NEVER)

    assert again == held
    assert not engine_case.engine.is_standing(again)
    counting.assert_runs()


def test_a_workload_that_is_gone_is_said_to_be(engine_case: EngineCase, lock: NodeLock) -> None:
    """Freeze, store and restore say so; thaw, permit, kill and discard have nothing left to do."""
    counting = engine_case.start()
    gone = counting.workload
    counting.end()

    assert_gone(engine_case, gone, lock)


def test_a_pid_that_is_used_again_is_never_touched(engine_case: EngineCase, lock: NodeLock) -> None:
    """Another process that has the pid now is neither stopped nor continued."""
    counting = engine_case.start()
    earlier = later_process_with_the_same_pid(counting.workload)

    assert_gone(engine_case, earlier, lock)
    counting.assert_runs()

    engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)
    assert_gone(engine_case, earlier, lock)
    counting.assert_stands()


@pytest.mark.parametrize("mark", [{}, {"CHECKPOINT_WORKLOAD": "0"}, {"NOT_CHECKPOINT_WORKLOAD": "1"}])
def test_what_is_not_marked_is_never_touched(engine_case: EngineCase, lock: NodeLock, mark: dict[str, str]) -> None:
    """A wrong or forged message cannot freeze a database, nor continue what somebody else stopped."""
    counting = engine_case.start(mark=mark)

    with pytest.raises(RunGone, match="CHECKPOINT_WORKLOAD=1"):
        engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)
    assert_gone(engine_case, counting.workload, lock)

    counting.assert_runs()


def test_a_revoked_checkpoint_freezes_nothing(engine_case: EngineCase, lock: NodeLock) -> None:
    """A wait that ended before the freeze leaves its process alone."""
    counting = engine_case.start()
    revoked = Event()
    revoked.set()

    with pytest.raises(EngineRevoked):
        engine_case.engine.freeze(counting.workload, lock=lock, stop=revoked)

    counting.assert_runs()


def assert_gone(engine_case: EngineCase, workload: Workload, lock: NodeLock) -> None:
    """Every call either says that the workload is gone or ignores it."""
    engine, image = engine_case.engine, Image(location="nowhere", digest=None, image_bytes=0)
    with pytest.raises(RunGone):
        engine.freeze(workload, lock=lock, stop=NEVER)
    with pytest.raises(RunGone):
        engine.store(workload, name=NAME, lock=lock, stop=NEVER)
    if engine_case.engine.leaves_standing:
        with pytest.raises(RunGone):
            engine.restore(image, name=NAME, workload=workload, lock=lock, stop=NEVER)
    assert not engine.is_standing(workload)
    engine.thaw(workload)
    engine.permit(workload)
    engine.kill(workload)
