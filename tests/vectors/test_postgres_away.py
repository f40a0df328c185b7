"""Postgres killed while the engine works: no answer is no acceptance and no refusal; it is asked again."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from signal import SIGQUIT

import pytest
from pydantic import SecretStr
from runs import Run
from system import System
from upstream import Upstream, a_wait
from waiting import wait_until

from shared.client import Checkpoints
from shared.db.migrate import migrate
from shared.settings import Settings
from shared.vocabulary import Mode
from workers.cli.servers import EmbeddedServer


@pytest.fixture
def engine_script() -> str:
    """Leave a line for each call, and work until the test says that it is enough."""
    return "echo call >> calls; until [ -e enough ]; do sleep 0.05; done"


@pytest.fixture
def settings(settings: Settings, postgres: EmbeddedServer) -> Settings:
    """Settings on that Postgres."""
    migrate(postgres.url)
    return settings.model_copy(update={"database_url": SecretStr(postgres.url)})


def test_an_engine_that_ends_while_postgres_is_away_is_accepted_when_it_is_back(
    system: System,
    settings: Settings,
    postgres: EmbeddedServer,
    a_run: Callable[[], Run],
    engine_folder: Path,
    tmp_path: Path,
) -> None:
    """Vector 36: the image is offered again until it is answered: accepted once, with one call of the engine."""
    system.start()
    run = a_run()
    with Checkpoints(settings) as client:
        client.defer(a_wait(run.id, run.workload, delay_ms=0))
    wait_until((engine_folder / "calls").exists)

    postgres.stop(SIGQUIT)
    (engine_folder / "enough").touch()
    # A short absence would only be waited for by the pool of connections, and no offer would fail.
    wait_until(lambda: has_failed_to_offer(tmp_path / "logs"))
    assert run.stands
    postgres.start()
    postgres.wait_ready()

    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL"))
    assert system.rows("SELECT status, epoch FROM checkpoint") == [{"status": "accepted", "epoch": 1}]
    assert (engine_folder / "calls").read_text().splitlines() == ["call"]
    with closing(Upstream(settings)) as upstream:
        upstream.complete(run)
        assert upstream.continuation(run).mode is Mode.RESTORED
        assert run.goes_on()
        assert len(upstream.heard[run.id, 1]) == 1


def has_failed_to_offer(logs: Path) -> bool:
    """Whether a checkpoint worker has told that an offer had no answer."""
    lines = [line for log in logs.glob("checkpoint-*.log") for line in log.read_text().splitlines()]
    return any("postgres.waiting" in line and "offer" in line for line in lines)
