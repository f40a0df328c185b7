"""A cancel through SQL reaches a checkpoint that is being taken, as one by message does."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb
from runs import Run
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.settings import Settings


@pytest.mark.parametrize(
    "cancel",
    [
        {"reason": {"type": "RUN_CANCELLED"}},
        {"wait_number": 1, "reason": {"type": "MANUAL"}},
    ],
    ids=["the run", "only the checkpoint"],
)
def test_a_cancel_in_sql_ends_the_engines_command(
    cancel: dict[str, object], settings: Settings, tmp_path: Path, upstream: Upstream, a_run: Callable[[], Run]
) -> None:
    """The sweeper raises the token: the command ends, the process runs again, the row closes."""
    system = System(settings.model_copy(update={"simulate_command": ["sleep", "600"]}), tmp_path / "logs")
    try:
        system.start()
        run = a_run()
        upstream.wait_for_task(run, delay_ms=0)
        wait_until(lambda: run.stands)

        with psycopg.connect(settings.database_url.get_secret_value()) as conn:
            conn.execute("SELECT cancel_checkpoint(%s)", (Jsonb({"v": 1, "run_id": run.id, **cancel}),))

        assert wait_until(lambda: run.runs)
        wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE status = 'revoked'"))
    finally:
        system.kill_all()
