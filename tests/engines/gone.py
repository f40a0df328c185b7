"""What every engine does with a workload that is not there."""

from threading import Event

import pytest

from shared.errors import RunGone
from shared.messages import Workload
from workers.engines.engine import Engine, Image
from workers.node.lock import NodeLock


def assert_gone(engine: Engine, workload: Workload, lock: NodeLock) -> None:
    """Every call either says that the workload is gone or ignores it."""
    image = Image(location="nowhere", digest=None, image_bytes=0)
    with pytest.raises(RunGone):
        engine.freeze(workload, lock=lock, stop=Event())
    with pytest.raises(RunGone):
        engine.store(workload, name="17-1", lock=lock, stop=Event())
    if engine.leaves_standing(image.location):
        with pytest.raises(RunGone):
            engine.restore(image, name="17-1", workload=workload, lock=lock, stop=Event())
    assert not engine.is_standing(workload)
    engine.thaw(workload)
    engine.permit(workload)
    engine.kill(workload)
