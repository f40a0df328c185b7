"""Revocation tokens in Redis, keyed by run: advice that saves work, never the judge.

A token says: the checkpoints of this run's waits up to this number are revoked. It is written after the commit that
ended the wait, never before, and no row changes because of it alone. Source: the contract, section 4.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from threading import Event, Thread
from typing import Final

import msgspec
from redis import Redis, RedisError

from shared.broker import Command, Keys
from shared.db.deferrals import Revocation
from shared.messages import Count
from shared.task_ids import take_id

RAISE_SCRIPT: Final = files("shared").joinpath("tokens.lua").read_text()
RAISE_LIMIT: Final = 500  # tokens in one script: four arguments each
WATCH_PERIOD: Final = timedelta(milliseconds=200)  # how soon a running engine command hears of its revocation


class Token(msgspec.Struct, frozen=True):
    """The value of a token; other fields that it may have are not ours to judge by."""

    wait_number: Count
    reason: str = ""


def raise_commands(keys: Keys, revocations: Iterable[Revocation], *, ttl: timedelta) -> Iterator[Command]:
    """Yield the Redis commands that raise tokens and remove the held takes of those waits."""
    now = datetime.now(UTC).isoformat()
    arguments: list[str | bytes | int] = []
    for one in revocations:
        value = msgspec.json.encode({"wait_number": one.wait_number, "reason": one.reason, "at": now})
        arguments += [keys.token(one.run_id), one.wait_number, value, take_id(one.run_id, one.wait_number)]
    milliseconds = ttl // timedelta(milliseconds=1)
    for start in range(0, len(arguments), 4 * RAISE_LIMIT):
        part = arguments[start : start + 4 * RAISE_LIMIT]
        yield ("EVAL", RAISE_SCRIPT, 2, keys.held, keys.held_due, milliseconds, *part)


def is_revoked(client: Redis, keys: Keys, *, run_id: str, wait_number: int) -> bool:
    """Look a run's token up; a value that is none of ours, or no answer, counts as none."""
    try:
        value = client.get(keys.token(run_id))
        return isinstance(value, bytes) and msgspec.json.decode(value, type=Token).wait_number >= wait_number
    except (RedisError, ValueError, RecursionError):
        # No JSON, no UTF-8, no number; or nested too deep.
        return False


@contextmanager
def watch(client: Redis, keys: Keys, *, run_id: str, wait_number: int) -> Generator[Event]:
    """Watch for the revocation of a checkpoint that is being taken; the event is set when it is seen."""
    revoked = Event()
    is_over = Event()

    def look() -> None:
        while not is_over.wait(WATCH_PERIOD.total_seconds()):
            if is_revoked(client, keys, run_id=run_id, wait_number=wait_number):
                revoked.set()
                return

    watcher = Thread(target=look, name=f"token-of-{wait_number}", daemon=True)
    watcher.start()
    try:
        yield revoked
    finally:
        is_over.set()
        watcher.join()
