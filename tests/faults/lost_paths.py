"""The ways of a wait whose frozen run cannot be brought back, until its upstream gives it up."""

import shutil
from pathlib import Path

from waiting import wait_until

from shared.vocabulary import CancelReason, Unreached
from tests.faults.ledger_platform import Life
from tests.faults.paths import ALL, QUIET_SECONDS, Scene, begin, cancel, end
from workers.images.store import ARCHIVE


def lost(scene: Scene) -> Life:
    """The image of a frozen run is lost: no restore can succeed, until its upstream gives the run up."""
    scene.start(*ALL)
    life = begin(scene)
    wait_until(scene.is_frozen, seconds=QUIET_SECONDS)
    shutil.rmtree(scene.settings.image_store.removeprefix("file://"))
    end(life)
    wait_until(lambda: scene.row()["error"], seconds=QUIET_SECONDS)
    cancel(scene, life, CancelReason.RUN_CRASHED)
    return life


def changed(scene: Scene) -> Life:
    """The image of a frozen run was changed: its upstream hears that it is refused, and gives the run up."""
    scene.start(*ALL)
    life = begin(scene)
    wait_until(scene.is_frozen, seconds=QUIET_SECONDS)
    for archive in Path(scene.settings.image_store.removeprefix("file://")).glob(f"*/{ARCHIVE}"):
        archive.write_bytes(archive.read_bytes()[::-1])
    end(life)
    # Told once more by the worker that took the dead one's place.
    wait_until(lambda: len(scene.platform.out_of_reach) > 1, seconds=QUIET_SECONDS)
    assert {told.code for told in scene.platform.out_of_reach} == {Unreached.RESTORE_REFUSED}
    cancel(scene, life, CancelReason.RUN_CRASHED)
    return life


def gone(scene: Scene) -> Life:
    """The frozen process is lost: no restore can succeed, until its upstream gives the run up."""
    scene.start(*ALL)
    life = begin(scene)
    wait_until(scene.is_frozen, seconds=QUIET_SECONDS)
    life.run.end()
    end(life)
    wait_until(lambda: any(told.final for told in scene.platform.out_of_reach), seconds=QUIET_SECONDS)
    cancel(scene, life, CancelReason.RUN_CRASHED)
    return life
