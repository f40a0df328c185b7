"""`checkpoints settings` and `doctor`: what is in force, and what does not fit together."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from command_line import checkpoints, objects, verdicts
from databases import a_database
from redis import Redis

from shared.settings import PREFIX, Settings
from workers.cli.redis_server import redis_server
from workers.node.node import Node


def test_each_setting_is_shown_with_its_value_and_where_that_comes_from(settings: Settings) -> None:
    """All of them, with the defaults among them."""
    found = {one["name"]: one for one in objects(settings, "settings")}

    assert set(found) == {PREFIX + name.upper() for name in Settings.model_fields}
    assert (found["CHECKPOINT_NODE"]["value"], found["CHECKPOINT_NODE"]["from"]) == (settings.node, "environment")
    assert (found["CHECKPOINT_DELAY_TASK_MS"]["value"], found["CHECKPOINT_DELAY_TASK_MS"]["from"]) == (
        30_000,
        "default",
    )


def test_no_secret_is_shown(settings: Settings) -> None:
    """Neither a password in an address nor one from a file."""
    secret = {"CHECKPOINT_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/db"}

    for words in (["settings"], ["settings", "--json"], ["doctor"], ["runs", "list"]):
        done = checkpoints(settings, *words, **secret)
        assert "hunter2" not in done.stdout + done.stderr
    assert "postgresql://me:***@127.0.0.1:1/db" in checkpoints(settings, "settings", **secret).stdout


def test_a_secret_may_stand_in_a_file(settings: Settings, tmp_path: Path) -> None:
    """In a folder such as compose mounts; a variable goes before its file."""
    (tmp_path / "checkpoint_database_url").write_text("postgresql://me:hunter2@127.0.0.1:1/of-file\n")
    (tmp_path / "checkpoint_node").write_text("of-file")
    files = {"CHECKPOINT_SECRETS_DIR": str(tmp_path)}
    without = settings.model_copy()
    without.model_fields_set.discard("database_url")

    told = checkpoints(without, "settings", **files).stdout

    assert "postgresql://me:***@127.0.0.1:1/of-file" in told
    assert settings.node in told


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CHECKPOINT_SIMULATE_COMMAND", "sleep 2", "CHECKPOINT_SIMULATE_COMMAND: no JSON"),
        ("CHECKPOINT_SECRETS_DIR", "/nowhere", "CHECKPOINT_SECRETS_DIR: /nowhere is no folder"),
        ("CHECKPOINT_DELAY", "1", "CHECKPOINT_DELAY: unknown"),
        ("CHECKPOINT_DELAY_TASK_MS", "30s", "CHECKPOINT_DELAY_TASK_MS: "),
    ],
)
def test_a_wrong_setting_is_a_sentence_everywhere(
    name: str, value: str, says: str, settings: Settings, tmp_path: Path
) -> None:
    """Never a traceback; `up` has prepared nothing when it says so."""
    for words in (["settings"], ["runs", "list"], ["worker", "sweeper"], ["up", "--data", str(tmp_path / "data")]):
        done = checkpoints(settings, *words, **{name: value})
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
        assert says in done.stderr
    assert not (tmp_path / "data").exists()
    assert verdicts(settings, **{name: value})[0] == 1


def test_doctor_finds_a_system_that_fits_together(settings: Settings, node: Node) -> None:
    """Servers, schema, node, locks, engines: nothing fails."""
    _ = node

    code, found = verdicts(settings)

    assert code == 0
    assert {about for about, (verdict, _) in found.items() if verdict == "ok"} >= {
        *("settings", "python", "celery", "postgres", "schema", "clock", f"node {settings.node}", "sweeper"),
        *("redis role", "redis eviction", "redis memory", "countdowns", "lock folder", "engine simulate"),
    }


def test_doctor_goes_on_when_both_servers_are_away(settings: Settings) -> None:
    """Each is a failure of its own; what is here is still looked at."""
    nowhere = {
        "CHECKPOINT_DATABASE_URL": "postgresql://me:secret@127.0.0.1:1/none",
        "CHECKPOINT_BROKER_URL": "redis://127.0.0.1:1/0",
    }

    code, found = verdicts(settings, **nowhere)

    assert code == 1
    assert (found["postgres"][0], found["redis"][0], found["lock folder"][0]) == ("fail", "fail", "ok")


def test_doctor_sees_a_database_without_a_schema(settings: Settings) -> None:
    """And says what brings it there."""
    with a_database(template=None) as url:
        code, found = verdicts(settings, CHECKPOINT_DATABASE_URL=url)

    assert (code, found["schema"][0]) == (1, "fail")
    assert "lacks 0001" in found["schema"][1]


def test_doctor_sees_a_node_that_is_silent_and_a_sweeper_that_is_missing(settings: Settings, node: Node) -> None:
    """By the rows that should have been looked at, and the node's last word."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as conn:
        conn.execute("UPDATE node SET seen_at = now() - interval '1 hour' WHERE name = %s", [node.name])
        conn.execute(
            "INSERT INTO dependency (id, early_at, look_at) VALUES ('d', now(), now() - interval '10 minutes')"
        )

    code, found = verdicts(settings)

    assert (code, found[f"node {node.name}"][0], found["sweeper"][0]) == (1, "fail", "fail")


def test_doctor_sees_a_redis_that_forgets(settings: Settings, tmp_path: Path) -> None:
    """One that evicts fails; one without a file is warned of; one that is nearly full too."""
    server = redis_server(tmp_path / "redis", fast=True)
    server.start()
    try:
        server.wait_ready()
        client: Any = Redis.from_url(server.url)  # pyright: ignore[reportUnknownMemberType]  # redis-py: untyped **kwargs
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory", used + used // 50)

        code, found = verdicts(settings, CHECKPOINT_BROKER_URL=server.url)
    finally:
        server.stop()

    assert code == 1
    assert (found["redis eviction"][0], found["redis persistence"][0], found["redis memory"][0]) == (
        "fail",
        "warn",
        "warn",
    )


def test_doctor_sees_a_lock_folder_that_cannot_be_written(settings: Settings) -> None:
    """No checkpoint could be taken here."""
    code, found = verdicts(settings, CHECKPOINT_LOCK_FOLDER="/proc/of-locks")

    assert (code, found["lock folder"][0]) == (1, "fail")
