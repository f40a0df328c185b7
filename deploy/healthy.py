#!/usr/bin/env python
"""`healthy.py KIND`: exit code 0 if the worker of this container was at work just now."""

import sys
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from redis import Redis

from shared.db.readiness import node_was_seen
from shared.settings import Settings, current_settings
from workers.cli.kinds import WorkerKind

SILENT_SECONDS = 30
LOOKED = """
SELECT FROM pg_stat_activity
 WHERE application_name = 'checkpoints sweeper'
   AND client_addr = inet_client_addr()
   AND state_change > now() - make_interval(secs => %s)
"""


def drains(settings: Settings) -> bool:
    """Return whether a connection from here waits for messages: its drain asks every second."""
    clients: Any = Redis
    with clients.from_url(settings.broker_url.get_secret_value(), socket_timeout=2) as redis:
        here = address(redis.client_info()["addr"])
        return any(
            address(one["addr"]) == here and one["cmd"] in {"blmove", "eval"} and int(one["idle"]) < SILENT_SECONDS
            for one in redis.client_list()
        )


def address(peer: str) -> str:
    """Return a peer without its port."""
    return peer.rpartition(":")[0]


def sweeps(settings: Settings) -> bool:
    """Return whether a sweeper from here has looked: it does so every few seconds."""
    with psycopg.connect(settings.database_url.get_secret_value(), connect_timeout=2, row_factory=tuple_row) as conn:
        return conn.execute(LOOKED, [SILENT_SECONDS]).fetchone() is not None


def is_healthy(kind: WorkerKind, settings: Settings) -> bool:
    """Return whether this container's worker is at work."""
    match kind:
        case WorkerKind.CHECKPOINT:
            url = settings.database_url.get_secret_value()
            return drains(settings) and node_was_seen(url, node=settings.node, seconds=SILENT_SECONDS)
        case WorkerKind.RESUME:
            return drains(settings)
        case WorkerKind.SWEEPER:
            return sweeps(settings)
        case WorkerKind.FLOWER:
            flower = HTTPConnection("127.0.0.1", 5555, timeout=2)
            flower.request("GET", "/healthcheck")
            return flower.getresponse().status == HTTPStatus.OK


sys.exit(0 if is_healthy(WorkerKind(sys.argv[1]), current_settings()) else 1)
