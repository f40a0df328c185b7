"""Celery's remote control on a real worker: what Flower's buttons may do to a run."""

from collections.abc import Callable

from runs import Run
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.queues import make_app
from shared.settings import Settings
from shared.task_ids import take_id
from workers.cli.kinds import WorkerKind


def test_a_revoke_is_refused_and_the_checkpoint_is_taken(
    system: System, upstream: Upstream, settings: Settings, a_run: Callable[[], Run]
) -> None:
    """A worker that remembered it would drop every take of the wait for three hours, a sweep's too."""
    system.start(WorkerKind.CHECKPOINT)
    run = a_run()

    answers = make_app("test", settings).control.revoke(take_id(run.id, 1), reply=True, timeout=5, limit=1)

    assert ["checkpoint.cancel" in str(answer) for answer in answers or []] == [True]
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE status = 'accepted'"))
