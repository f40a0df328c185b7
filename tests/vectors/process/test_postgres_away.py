"""Postgres killed during a dump: the image is stored once, and offered until it is answered."""

from collections.abc import Callable
from contextlib import closing
from signal import SIGQUIT

import pytest
from criu import stored_in
from process_runs import CountingRun
from pydantic import SecretStr
from system import System
from upstream import Upstream, a_wait
from waiting import wait_until

from shared.client import Checkpoints
from shared.db.migrate import migrate
from shared.settings import Settings
from shared.vocabulary import Mode
from tests.vectors.process.conftest import GATED, Gate
from workers.cli.servers import EmbeddedServer


@pytest.fixture
def settings(settings: Settings, postgres: EmbeddedServer) -> Settings:
    """Settings on that Postgres."""
    migrate(postgres.url)
    return settings.model_copy(update={"database_url": SecretStr(postgres.url)})


@pytest.mark.parametrize("script", [GATED], ids=["a gate"])
def test_a_process_that_was_dumped_while_postgres_was_away_is_frozen_when_it_is_back(
    system: System, settings: Settings, postgres: EmbeddedServer, a_counting_run: Callable[[], CountingRun], gate: Gate
) -> None:
    """Vector 36: it stands until then, and is ended only once its image was accepted."""
    system.start()
    run = a_counting_run()
    with Checkpoints(settings) as client:
        client.defer(a_wait(run.id, run.workload, delay_ms=0))
    gate.wait()

    postgres.stop(SIGQUIT)
    gate.open()
    # A short absence would only be waited for by the pool of connections, and no offer would fail.
    wait_until(lambda: system.logged("postgres.waiting", "offer"))
    run.assert_stands()
    postgres.start()
    postgres.wait_ready()

    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL"))
    assert system.rows("SELECT status, epoch FROM checkpoint") == [{"status": "accepted", "epoch": 1}]
    assert run.is_gone
    assert len(stored_in(settings)) == 1
    with closing(Upstream(settings)) as upstream:
        upstream.complete(run)
        heard = upstream.continuation(run)
        assert heard.mode is Mode.RESTORED
        run.went_on(heard)
        assert len(upstream.heard[run.id, 1]) == 1
    wait_until(lambda: stored_in(settings) == [])
