"""Redis: can it be reached, will it keep queues and tokens, has it room."""

from collections.abc import Iterator
from typing import Any, Final, cast

from shared.broker import connect
from shared.queues import visibility_timeout
from shared.settings import Settings
from workers.cli.doctor.line import Line, Verdict

FULL: Final = 0.9
OLDEST_TRIED: Final = (6, 2)


def redis_lines(settings: Settings) -> Iterator[Line]:
    """Say what Redis is, and how it is set.

    Raises:
        RedisError: It does not answer.
    """
    client: Any = connect(settings)
    try:
        info = cast("dict[str, Any]", client.info())
    finally:
        client.close()
    yield _version(info)
    yield _role(info)
    yield _eviction(info)
    yield _persistence(info)
    yield _memory(info)
    yield _transport(settings)


def _version(info: dict[str, Any]) -> Line:
    text = str(info.get("valkey_version") or info["redis_version"])
    name = "valkey" if "valkey_version" in info else "redis"
    numbers = tuple(int(part) for part in text.split(".")[:2])
    if numbers < OLDEST_TRIED:
        return Line(name, Verdict.FAIL, text, "Expected 6.2 or later: drains move messages with its commands. Upgrade.")
    return Line(name, Verdict.OK, text)


def _role(info: dict[str, Any]) -> Line:
    if info["role"] != "master":
        return Line("redis role", Verdict.FAIL, str(info["role"]), "Name the primary in CHECKPOINT_BROKER_URL.")
    return Line("redis role", Verdict.OK, "primary")


def _eviction(info: dict[str, Any]) -> Line:
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy != "noeviction":
        return Line(
            "redis eviction",
            Verdict.FAIL,
            policy,
            "An evicted queue is lateness, an evicted token a needless checkpoint: set `maxmemory-policy noeviction`.",
        )
    return Line("redis eviction", Verdict.OK, policy)


def _persistence(info: dict[str, Any]) -> Line:
    if int(info.get("aof_enabled", 0)):
        return Line("redis persistence", Verdict.OK, "appendonly")
    return Line(
        "redis persistence",
        Verdict.WARN,
        "no appendonly file",
        "After a restart upstreams without a database repeat their messages, and sweeps send the rest late; "
        "set `appendonly yes` to spare that.",
    )


def _memory(info: dict[str, Any]) -> Line:
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    found = f"{used / 2**20:.0f} MiB used" + (f" of {limit / 2**20:.0f}" if limit else ", no limit")
    if limit and used > limit * FULL:
        return Line("redis memory", Verdict.WARN, found, "A full Redis takes no message: raise maxmemory.")
    return Line("redis memory", Verdict.OK, found)


def _transport(settings: Settings) -> Line:
    if settings.transport == "deferred":
        return Line("countdowns", Verdict.OK, "held in Redis")
    limit = visibility_timeout(settings)
    found = f"held by workers, visibility timeout {limit.total_seconds():.0f} s"
    if limit.total_seconds() * 1000 <= settings.countdown_horizon_ms:
        return Line(
            "countdowns",
            Verdict.FAIL,
            found,
            "A countdown past the timeout runs again and again: lower CHECKPOINT_COUNTDOWN_HORIZON_MS.",
        )
    return Line("countdowns", Verdict.OK, found)
