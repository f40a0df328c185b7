"""What Celery's workers set aside in Redis comes to Postgres whole, whatever else lies there and whoever moves it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from message_door import MessageDoor, item_of
from psycopg import Connection
from refusable import OneRun
from system import System
from waiting import wait_until

from shared.guard import KEPT_BYTES_MAX, set_aside
from workers.cli.kinds import WorkerKind
from workers.sweeper.sweeps import REJECTED, sweep_rejected

RECORD = set_aside(b"bad", "work", "it is bad")
GARBAGE: dict[str, bytes] = {
    "no JSON": b"garbage",
    "no bytes": b"",
    "no UTF-8": b"\xff\0",
    "a message as it is": item_of(OneRun().defer(), "lost"),
    "a list": b"[1]",
    "half a record": b'{"queue": "work", "reason": "r"}',
    "half a character": RECORD.replace(b'"work"', b'"\\ud800"'),
    "no base64": RECORD.replace(b'"message":"', b'"message":"!'),
    "nested deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "larger than any record": b"y" * 1_000_000,
    "a queue that is larger": RECORD.replace(b'"work"', b'"%s"' % (b"q" * 1_000_000)),
}


def test_garbage_among_it_is_kept_like_the_rest(message_door: MessageDoor, system: System) -> None:
    """Whatever somebody wrote there, no sweeper ends by it; what workers set aside before and after it is kept."""
    at = message_door.at
    at.redis.lpush(at.keys.rejected, RECORD, *GARBAGE.values(), RECORD)

    system.start(WorkerKind.SWEEPER)
    wait_until(lambda: not at.redis.exists(at.keys.rejected))

    first, *garbage, last = message_door.rejections()
    assert [(one["queue"], one["problem"], one["raw"]) for one in (first, last)] == [("work", "it is bad", b"bad")] * 2
    for name, one in zip(GARBAGE, garbage, strict=True):
        assert (one["queue"], one["code"]) == ("checkpoint:rejected", "invalid-message"), name
        assert "no record of a message that was set aside" in one["problem"], name
        assert one["raw"] == GARBAGE[name][:KEPT_BYTES_MAX], name
    (sweeper,) = system.processes(WorkerKind.SWEEPER)
    assert sweeper.poll() is None


def test_of_two_sweepers_at_once_none_drops_what_it_has_not_kept(message_door: MessageDoor) -> None:
    """Both read the same records: one may be kept twice, none is taken off the list unread."""
    at = message_door.at
    raws = [b"%d" % number for number in range(2 * REJECTED)]
    at.redis.lpush(at.keys.rejected, *[set_aside(raw, "work", "it is bad") for raw in raws])

    def sweep() -> int:
        with at.pool.connection() as conn:
            return sweep_rejected(at, conn)

    with at.pool.connection() as conn, ThreadPoolExecutor(2) as threads:
        with conn.transaction():
            conn.execute("LOCK TABLE rejection IN ACCESS EXCLUSIVE MODE")
            sweeps = [threads.submit(sweep) for _ in range(2)]
            # Both have read the list, and none has taken anything off it.
            wait_until(lambda: waiting(conn) == 2)
        assert [one.result() for one in sweeps] == [REJECTED] * 2
        sweep()

    assert {bytes(kept["raw"]) for kept in message_door.rejections()} == {*raws}
    assert at.redis.llen(at.keys.rejected) == 0


def waiting(conn: Connection[Any]) -> int:
    """Return how many wait for the table of rejections."""
    query = "SELECT count(*) FROM pg_locks WHERE relation = 'rejection'::regclass AND NOT granted"
    return conn.execute(query).fetchall()[0][0]
