"""What every engine promises, shown with a process that counts: it never counts while it is frozen."""

from collections.abc import Callable
from threading import Event

import pytest

from shared.errors import EngineRevoked, RunGone
from tests.engines.conftest import EngineCase, Frozen
from tests.engines.counting import session_members
from tests.engines.gone import assert_gone
from workers.node.lock import NodeLock

NAME = "17-1"
NEVER = Event()

Freeze = Callable[[], Frozen]


@pytest.fixture
def a_frozen_workload(engine_case: EngineCase, lock: NodeLock) -> Freeze:
    """Freeze and store a counting workload, then kill it: twice, as every call may come twice."""

    def freeze() -> Frozen:
        counting = engine_case.start()
        workload = counting.workload
        engine_case.engine.freeze(workload, lock=lock, stop=NEVER)
        image = engine_case.engine.store(workload, name=NAME, lock=lock, stop=NEVER)
        for _ in range(2):
            engine_case.kill(image, workload)
        return Frozen(counting, workload, image)

    return freeze


def test_a_node_is_told_whether_it_can(engine_case: EngineCase) -> None:
    """A node that can do what the engine needs passes its probe."""
    engine_case.engine.probe()


def test_a_frozen_workload_stands_as_a_whole(engine_case: EngineCase, lock: NodeLock) -> None:
    """Its threads and children stand too, and it goes on later where it stood, without a gap."""
    counting = engine_case.start()

    engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)

    counting.assert_stands()
    assert engine_case.engine.is_standing(counting.workload)
    assert counting.workload in engine_case.engine.standing(node="here")

    engine_case.engine.thaw(counting.workload)

    counting.assert_runs()
    assert not engine_case.engine.is_standing(counting.workload)
    assert counting.workload not in engine_case.engine.standing(node="here")


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
    before = counting.counts()

    image = engine_case.engine.store(counting.workload, name=NAME, lock=lock, stop=NEVER)

    assert counting.counts() == before
    counting.assert_stands()
    assert NAME in image.location


def test_a_workload_that_was_stored_goes_on_when_its_offer_is_refused(engine_case: EngineCase, lock: NodeLock) -> None:
    """As if nothing had been; and the next time it is frozen and stored again."""
    counting = engine_case.start()
    for epoch in (1, 2):
        engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)
        image = engine_case.engine.store(counting.workload, name=f"17-{epoch}", lock=lock, stop=NEVER)
        engine_case.engine.thaw(counting.workload)

        counting.assert_runs()
        engine_case.engine.discard(image.location)
        assert engine_case.left() == []


def test_a_killed_workload_is_gone(engine_case: EngineCase, a_frozen_workload: Freeze) -> None:
    """Its memory is free, and its pids; unless the engine says that it leaves workloads standing."""
    frozen = a_frozen_workload()

    if engine_case.engine.leaves_standing(frozen.image.location):
        frozen.counting.assert_stands()
    else:
        assert session_members(frozen.counting.pid) == []
        assert not engine_case.engine.is_standing(frozen.workload)


def test_each_epoch_stores_its_own_image(engine_case: EngineCase, lock: NodeLock) -> None:
    """A loser that discards its image does not touch the winner's; discarding twice is no error."""
    counting = engine_case.start()
    engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)
    first = engine_case.engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)
    second = engine_case.engine.store(counting.workload, name="17-2", lock=lock, stop=NEVER)

    for _ in range(2):
        engine_case.engine.discard(first.location)

    assert first.location != second.location
    workload = counting.workload
    engine_case.kill(second, workload)
    held = engine_case.engine.restore(second, name="17-3", workload=workload, lock=lock, stop=NEVER)
    counting.moved_to(held)
    assert engine_case.engine.is_standing(held)


def test_a_restored_workload_is_held_until_it_is_permitted(
    engine_case: EngineCase, a_frozen_workload: Freeze, lock: NodeLock
) -> None:
    """It goes on where it was frozen: no number twice, none left out."""
    frozen = a_frozen_workload()
    before = frozen.counting.counts()

    held = engine_case.engine.restore(frozen.image, name="17-2", workload=frozen.workload, lock=lock, stop=NEVER)

    frozen.counting.moved_to(held)
    assert engine_case.engine.is_standing(held)
    assert held in engine_case.engine.standing(node="here")
    frozen.counting.assert_stands()
    assert frozen.counting.counts() == before
    for _ in range(2):
        engine_case.engine.permit(held)
    frozen.counting.assert_runs()


def test_a_restored_workload_is_frozen_and_restored_again(
    engine_case: EngineCase, a_frozen_workload: Freeze, lock: NodeLock
) -> None:
    """A run waits more than once."""
    frozen = a_frozen_workload()
    engine, counting = engine_case.engine, frozen.counting
    image, workload = frozen.image, frozen.workload
    for id_ in (18, 19):
        workload = engine.restore(image, name=f"{id_ - 1}-2", workload=workload, lock=lock, stop=NEVER)
        counting.moved_to(workload)
        engine.permit(workload)
        engine.clear(f"{id_ - 1}-2", keep=workload)
        counting.assert_runs()

        engine.freeze(workload, lock=lock, stop=NEVER)
        image = engine.store(workload, name=f"{id_}-1", lock=lock, stop=NEVER)
        engine_case.kill(image, workload)

    held = engine.restore(image, name="19-2", workload=workload, lock=lock, stop=NEVER)
    counting.moved_to(held)
    engine.permit(held)
    counting.assert_runs()


def test_a_repeated_restore_does_not_stop_what_was_permitted(
    engine_case: EngineCase, a_frozen_workload: Freeze, lock: NodeLock
) -> None:
    """A worker that died after the permit leaves a message behind: the run it finds goes on undisturbed."""
    frozen = a_frozen_workload()
    held = engine_case.engine.restore(frozen.image, name="17-2", workload=frozen.workload, lock=lock, stop=NEVER)
    frozen.counting.moved_to(held)
    engine_case.engine.permit(held)

    again = engine_case.engine.restore(frozen.image, name="17-2", workload=frozen.workload, lock=lock, stop=NEVER)

    assert again == held
    assert not engine_case.engine.is_standing(again)
    frozen.counting.assert_runs()


def test_a_restore_by_another_claim_takes_the_place_of_one_that_was_not_permitted(
    engine_case: EngineCase, a_frozen_workload: Freeze, lock: NodeLock
) -> None:
    """A worker died between its restore and the permit: in the end one process runs, and it runs once."""
    frozen = a_frozen_workload()
    first = engine_case.engine.restore(frozen.image, name="17-2", workload=frozen.workload, lock=lock, stop=NEVER)
    frozen.counting.moved_to(first)

    second = engine_case.engine.restore(frozen.image, name="17-3", workload=frozen.workload, lock=lock, stop=NEVER)

    assert engine_case.engine.leaves_standing(frozen.image.location) or not engine_case.engine.is_standing(first)
    frozen.counting.moved_to(second)
    engine_case.engine.permit(second)
    frozen.counting.assert_runs()


def test_nothing_is_left_of_a_checkpoint_that_was_restored(
    engine_case: EngineCase, a_frozen_workload: Freeze, lock: NodeLock
) -> None:
    """What runs now is not touched, whether it was let go already or not."""
    frozen = a_frozen_workload()
    held = engine_case.engine.restore(frozen.image, name="17-2", workload=frozen.workload, lock=lock, stop=NEVER)
    frozen.counting.moved_to(held)

    for _ in range(2):
        engine_case.engine.clear("17-2", keep=held)

    frozen.counting.assert_stands()
    engine_case.engine.permit(held)
    frozen.counting.assert_runs()
    assert engine_case.left() == []


def test_nothing_is_left_of_a_checkpoint_that_was_discarded(
    engine_case: EngineCase, a_frozen_workload: Freeze, lock: NodeLock
) -> None:
    """Neither its images nor a process that was restored and never permitted; another checkpoint's stay."""
    frozen = a_frozen_workload()
    other = engine_case.start()
    workload = other.workload
    engine_case.engine.freeze(workload, lock=lock, stop=NEVER)
    kept = engine_case.engine.store(workload, name="18-1", lock=lock, stop=NEVER)
    held = engine_case.engine.restore(frozen.image, name="17-2", workload=frozen.workload, lock=lock, stop=NEVER)
    frozen.counting.moved_to(held)

    for _ in range(2):
        engine_case.engine.clear("17-3", keep=None)

    is_left = engine_case.engine.leaves_standing(frozen.image.location)
    assert is_left or session_members(frozen.counting.pid) == []
    assert [name for name in engine_case.left() if name != "18-1"] == []
    other.assert_stands()
    engine_case.kill(kept, workload)
    other.moved_to(engine_case.engine.restore(kept, name="18-2", workload=workload, lock=lock, stop=NEVER))
    other.assert_stands()


def test_a_workload_that_is_gone_is_said_to_be(engine_case: EngineCase, lock: NodeLock) -> None:
    """Freeze, store and restore say so; thaw, permit, kill and discard have nothing left to do."""
    counting = engine_case.start()
    gone = counting.workload
    counting.end()

    assert_gone(engine_case.engine, gone, lock)


def test_what_only_has_the_pid_or_name_of_a_workload_is_never_touched(engine_case: EngineCase, lock: NodeLock) -> None:
    """Another process that has the pid now, or container that has the name, is neither stopped nor continued."""
    counting, earlier = engine_case.start_again()

    assert_gone(engine_case.engine, earlier, lock)
    counting.assert_runs()

    engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)
    assert_gone(engine_case.engine, earlier, lock)
    counting.assert_stands()


@pytest.mark.parametrize("wrong", ["{mark}=0", "NOT_{mark}=1", "another=1"])
def test_what_is_not_marked_is_never_touched(engine_case: EngineCase, lock: NodeLock, wrong: str) -> None:
    """A wrong or forged message cannot freeze a database, nor continue what somebody else stopped."""
    [(name, value)] = engine_case.mark.items()
    mark = wrong.format(mark=name).split("=")
    counting = engine_case.start(mark=dict([mark]))

    with pytest.raises(RunGone, match=f"{name}={value}"):
        engine_case.engine.freeze(counting.workload, lock=lock, stop=NEVER)
    assert_gone(engine_case.engine, counting.workload, lock)

    counting.assert_runs()


def test_a_revoked_checkpoint_freezes_nothing(engine_case: EngineCase, lock: NodeLock) -> None:
    """A wait that ended before the freeze leaves its process alone."""
    counting = engine_case.start()
    revoked = Event()
    revoked.set()

    with pytest.raises(EngineRevoked):
        engine_case.engine.freeze(counting.workload, lock=lock, stop=revoked)

    counting.assert_runs()
