"""The Celery app and the names on the wire."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from pydantic import SecretStr

from shared.errors import Misconfigured, Refused
from shared.held import RECEIPT_AHEAD
from shared.queues import checkpoints_queue, is_reply_queue, make_app, visibility_timeout
from shared.settings import Settings
from shared.transport import DeferredTransport


def settings_with(url: str = "redis://localhost/0", **values: object) -> Settings:
    """Return settings that name a broker nobody connects to."""
    return Settings.model_validate({"broker_url": SecretStr(url), **values})


@pytest.mark.parametrize("node", ["a", "node-1", "0", "a" * 63])
def test_a_node_has_a_queue_of_its_own(node: str) -> None:
    """The queue of a node is `checkpoints.` and its name."""
    assert checkpoints_queue(node) == f"checkpoints.{node}"


@pytest.mark.parametrize("node", ["", "-a", "A", "a" * 64, "a.b", "a\n", "ä"])
def test_what_could_not_be_a_node_has_no_queue(node: str) -> None:
    """A name outside the contract's pattern never becomes a queue."""
    with pytest.raises(Refused):
        checkpoints_queue(node)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("continuations", True),
        ("continuations.my_service-1", True),
        ("continuations.", False),
        ("continuations.a\n", False),
        ("deferrals", False),
        ("continuations." + "a" * 65, False),
    ],
)
def test_upstreams_are_answered_on_reply_queues_only(name: str, *, is_one: bool) -> None:
    """Nobody can have an answer put on a queue of ours."""
    assert is_reply_queue(name) is is_one


def test_an_unacknowledged_message_outlasts_the_longest_task() -> None:
    """The visibility timeout is above a task's limit, and in `stock` above a held countdown too."""
    settings = settings_with(engine_timeout_ms=60_000, countdown_horizon_ms=30_000)

    deferred = visibility_timeout(settings)
    stock = visibility_timeout(settings.model_copy(update={"transport": "stock"}))

    assert deferred == timedelta(seconds=60) + RECEIPT_AHEAD
    assert stock == deferred + timedelta(seconds=30)


@pytest.mark.parametrize(("transport", "holds"), [("deferred", True), ("stock", False)])
def test_the_setting_chooses_the_transport(transport: str, *, holds: bool) -> None:
    """`deferred` holds countdowns in Redis, `stock` does not; the URL stays one that Flower knows."""
    app = make_app("test", settings_with("redis://:secret@example.test:1234/3", transport=transport))

    connection = app.connection_for_write()

    assert isinstance(connection.transport, DeferredTransport) is holds
    assert connection.as_uri(include_password=True) == "redis://:secret@example.test:1234/3"


def test_an_encrypted_connection_looks_at_the_certificate() -> None:
    """The default of kombu for `rediss://` is to trust everybody."""
    app = make_app("test", settings_with("rediss://example.test/0"))

    assert app.connection_for_write().ssl == {"ssl_cert_reqs": 2}


def test_another_broker_is_refused_with_what_was_expected() -> None:
    """Only Redis can hold countdowns and tokens."""
    with pytest.raises(Misconfigured, match="begins with 'amqp'; expected redis:// or rediss://"):
        make_app("test", settings_with("amqp://localhost"))


def test_importing_reads_no_settings() -> None:
    """A wrong setting is reported by the process that reads it, not by an import."""
    environment = os.environ | {"CHECKPOINT_BROKER_URL": "no URL", "CHECKPOINT_NO_SUCH": "1"}

    subprocess.run([sys.executable, "-c", "import shared.queues"], env=environment, check=True)
