"""Settings: read once, refused as a whole with every mistake listed, secrets never shown."""

import os
import re

import pytest
from pydantic import SecretStr

from shared.errors import Misconfigured
from shared.settings import Settings, default_node, read_settings

MINUTE, HOUR = 60_000, 3_600_000
# Source: the contract, section 5.
DEFAULTS: dict[str, object] = {
    "delay_task_ms": 30_000,
    "delay_batch_ms": 30_000,
    "delay_duration_ms": 0,
    "delay_manual_ms": 0,
    "delay_retry_ms": 0,
    "delay_min_ms": 0,
    "delay_max_ms": 48 * HOUR,
    "delay_policy": "fixed",
    "duration_threshold_ms": 30_000,
    "retry_threshold_ms": 30_000,
    "sweep_period_ms": 1_000,
    "take_grace_ms": 5_000,
    "resend_first_ms": 10_000,
    "resend_max_ms": 10 * MINUTE,
    "countdown_horizon_ms": MINUTE,
    "retry_base_ms": 3_000,
    "retry_max_ms": 3 * HOUR,
    "retry_total_ms": 48 * HOUR,
    "key_delays": {},
    "open_waits_per_key": 0,
    "lease_ms": 30_000,
    "continuation_lease_ms": MINUTE,
    "handshake_ms": 20_000,
    "node_silent_ms": 30_000,
    "token_ttl_ms": HOUR,
    "keep_finished_ms": 7 * 24 * HOUR,
    "keep_unclaimed_completion_ms": 7 * 24 * HOUR,
    "batch_seal_ms": 30 * MINUTE,
    "keep_rejections": 10_000,
    "transport": "deferred",
    "engine_timeout_ms": 10 * MINUTE,
    "agent_period_ms": 5_000,
    "key_prefix": "",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without a setting of ours."""
    for name in os.environ:
        if name.startswith("CHECKPOINT_"):
            monkeypatch.delenv(name)
    return monkeypatch


def problem(environment: pytest.MonkeyPatch, **values: str) -> str:
    """Return how these environment variables are refused."""
    for name, value in values.items():
        environment.setenv(name, value)
    with pytest.raises(Misconfigured) as refused:
        read_settings()
    return refused.value.message


def test_the_defaults_are_those_of_the_contract(environment: pytest.MonkeyPatch) -> None:
    """An empty environment is a sound one."""
    _ = environment

    settings = read_settings()

    assert settings.model_dump(include=set(DEFAULTS)) == DEFAULTS
    assert settings.node == default_node()


def test_every_setting_says_what_it_means() -> None:
    """The list of settings is made from the code."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_an_environment_variable_sets_its_setting(environment: pytest.MonkeyPatch) -> None:
    """Numbers are plain, tables and lists are JSON."""
    environment.setenv("CHECKPOINT_DELAY_TASK_MS", "5")
    environment.setenv("CHECKPOINT_KEY_DELAYS", '{"slow": 7}')
    environment.setenv("CHECKPOINT_SIMULATE_COMMAND", '["true"]')

    settings = read_settings()

    assert (settings.delay_task_ms, settings.key_delays, settings.simulate_command) == (5, {"slow": 7}, ["true"])


def test_names_with_our_prefix_that_are_no_settings_are_left_alone(environment: pytest.MonkeyPatch) -> None:
    """The mark of a workload and what `up` writes down for others may stand in any environment."""
    for name in ("CHECKPOINT_WORKLOAD", "CHECKPOINT_FLOWER_URL", "CHECKPOINT_WEB_URL"):
        environment.setenv(name, "1")

    read_settings()


def test_every_mistake_is_listed_at_once(environment: pytest.MonkeyPatch) -> None:
    """Whoever configures is not led from one mistake to the next."""
    said = problem(
        environment,
        CHECKPOINT_DELAY_TSK_MS="1",
        CHECKPOINT_DELAY_TASK_MS="soon",
        CHECKPOINT_LEASE_MS="0",
        CHECKPOINT_NODE="No Node",
    )

    names = ("CHECKPOINT_DELAY_TSK_MS: unknown", "CHECKPOINT_DELAY_TASK_MS: ", "CHECKPOINT_LEASE_MS: ")
    assert all(name in said for name in (*names, "CHECKPOINT_NODE: "))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"CHECKPOINT_DELAY_MIN_MS": "2", "CHECKPOINT_DELAY_MAX_MS": "1"}, "DELAY_MIN_MS is 2, above DELAY_MAX_MS 1"),
        (
            {"CHECKPOINT_RESEND_FIRST_MS": "2", "CHECKPOINT_RESEND_MAX_MS": "1"},
            "RESEND_FIRST_MS is 2, above RESEND_MAX_MS 1",
        ),
        ({"CHECKPOINT_NODE_SILENT_MS": "14999"}, "NODE_SILENT_MS is 14999; expected at least 3 times AGENT_PERIOD_MS"),
    ],
    ids=["bounds of a delay", "gaps", "a node's silence"],
)
def test_settings_that_contradict_each_other_are_refused(
    values: dict[str, str], words: str, environment: pytest.MonkeyPatch
) -> None:
    """The message names both, with their values."""
    assert words in problem(environment, **values)


@pytest.mark.parametrize(
    "value", ["-1", "172800001", "1.5", "", "true"], ids=["negative", "above 48 h", "a fraction", "empty", "a word"]
)
def test_a_delay_is_an_integer_up_to_48_hours(value: str, environment: pytest.MonkeyPatch) -> None:
    """The bounds of a message hold for the settings too."""
    assert "CHECKPOINT_DELAY_TASK_MS" in problem(environment, CHECKPOINT_DELAY_TASK_MS=value)


def test_a_secret_is_never_shown(environment: pytest.MonkeyPatch) -> None:
    """Neither in a repr, nor as text or JSON, nor in the message of another mistake."""
    environment.setenv("CHECKPOINT_DATABASE_URL", "postgresql://me:hush@localhost/db")
    environment.setenv("CHECKPOINT_BROKER_URL", "redis://:hush@localhost/0")
    settings = read_settings()

    shown = [repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())]
    shown.append(problem(environment, CHECKPOINT_DELAY_MIN_MS="2", CHECKPOINT_DELAY_MAX_MS="1"))

    assert [text for text in shown if "hush" in text] == []
    assert settings.database_url.get_secret_value() == "postgresql://me:hush@localhost/db"


def test_settings_never_change() -> None:
    """Whoever has them may share them between threads."""
    with pytest.raises(ValueError, match="frozen"):
        setattr(Settings(), "database_url", SecretStr(""))  # noqa: B010  # the type checker refuses the assignment


def test_the_default_node_is_one_that_a_workload_may_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a machine is called."""
    for host in ("Machine.Example.org", "-a_b", "", "\u00e9", "x" * 200):
        monkeypatch.setattr("platform.node", lambda host=host: host)

        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", default_node())


def test_each_database_has_folders_of_its_own() -> None:
    """Images and claims are named by ids of rows: two systems of one machine must not meet each other's."""
    one, other = (Settings(database_url=SecretStr(f"postgresql://u:p@host:5432/{name}")) for name in ("one", "other"))
    changed = Settings(database_url=SecretStr("postgresql://u:another@host:5432/one"))

    assert one.image_store != other.image_store
    assert one.work_folder != other.work_folder
    assert (one.image_store, one.work_folder) == (changed.image_store, changed.work_folder)


def test_a_key_of_images_is_long_enough_and_never_shown(environment: pytest.MonkeyPatch) -> None:
    """A short one could be guessed; what is printed or logged has none."""
    said = problem(environment, CHECKPOINT_IMAGE_KEY="too short")

    assert "CHECKPOINT_IMAGE_KEY" in said
    assert "too short" not in said
    assert "a key of sixteen" not in repr(Settings(image_key=SecretStr("a key of sixteen")))
