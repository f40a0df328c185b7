"""A batch handled in as few transactions as it takes: one message that cannot be handled now hinders no other.

A message that Postgres cannot take is set aside. One whose row another transaction holds is kept, with all that come
behind it for the same run or dependency: their order is the sender's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from redis import RedisError

from shared.db.locks import is_blocked
from shared.db.moment import is_of_the_moment, is_of_the_schema
from shared.letters import Letter, open_letter
from workers.intake import LOCK_LIMIT, Handled, Story

HALF_LIMIT: Final = timedelta(milliseconds=100)  # of what lies in a batch that waited in vain already
KEPT_LIMIT: Final = timedelta(milliseconds=10)  # of what was kept: it is tried again with every turn
# Lock waits in vain of a turn; with the limits above it ends before the drain's lease does.
BATCH_WAITS: Final = 20
KEPT_WAITS: Final = 100


@dataclass(slots=True)
class Kept:
    """What is kept of a batch, by the message; it lies in the drain's list until it could be handled."""

    messages: list[bytes] = field(default_factory=list[bytes])
    blocked: set[bytes] = field(default_factory=set[bytes])  # of them those that were waited for alone


@dataclass(slots=True)
class Halves:
    """One turn of a drain.

    Args:
        story: What the messages mean.
        handle: Handles messages in one transaction that waits so long for a lock.
        set_aside: Refuses one that cannot be taken.
    """

    story: Story
    handle: Callable[[Sequence[bytes], timedelta], Handled]
    set_aside: Callable[[bytes, Exception], Handled]
    _waits: int = 0
    _kept: set[bytes] = field(default_factory=set[bytes])
    _blocked: dict[bytes, str | None] = field(default_factory=dict[bytes, str | None])

    def take(self, batch: Sequence[bytes], before: Kept) -> tuple[Handled, Kept]:
        """Handle a batch; what is blocked, or was not come to because too much is, is kept for the next turn.

        Args:
            batch: In order; what was kept comes first.
            before: What was kept by the last turn.

        Raises:
            psycopg.Error: An error of the moment or of the schema; what was handled may be handled again.
            redis.RedisError: The same.
        """
        named = {self._named(one) for one in before.blocked} - {None}
        old = [one for one in batch if one in before.blocked or (named and self._named(one) in named)]
        behind = set(old)
        new = [one for one in batch if one not in behind]
        self._waits = BATCH_WAITS
        handled = self._take(new, LOCK_LIMIT)
        self._waits = KEPT_WAITS
        handled = _both(handled, self._take(old, KEPT_LIMIT))
        return handled, Kept([one for one in batch if one in self._kept], set(self._blocked))

    def _take(self, batch: Sequence[bytes], limit: timedelta) -> Handled:
        batch = self._without_blocked(batch)
        if not batch:
            return Handled([], [])
        if self._waits == 0:
            self._kept.update(batch)
            return Handled([], [])
        try:
            return self.handle(batch, limit)
        except Exception as error:
            if is_blocked(error):
                self._waits -= 1
                if len(batch) == 1:
                    self._kept.add(batch[0])
                    self._blocked[batch[0]] = self._named(batch[0])
                    return Handled([], [])
                limit = min(limit, HALF_LIMIT)
            elif isinstance(error, RedisError) or is_of_the_moment(error) or is_of_the_schema(error):
                raise
            # It lies in the data: halve the batch down to the message, and set that one aside.
            elif len(batch) == 1:
                return self.set_aside(batch[0], error)
        half = len(batch) // 2
        first = self._take(batch[:half], limit)
        return _both(first, self._take(batch[half:], limit))

    def _without_blocked(self, batch: Sequence[bytes]) -> Sequence[bytes]:
        """Keep what would overtake a message that is blocked."""
        names = set(self._blocked.values()) - {None}
        if not names:
            return batch
        behind = {one for one in batch if self._named(one) in names}
        self._kept |= behind
        return [one for one in batch if one not in behind]

    def _named(self, raw: bytes) -> str | None:
        """Return the run or the dependency that a message is about."""
        letter = open_letter(raw, queue=self.story.queue, types=self.story.types)
        if not isinstance(letter, Letter):
            return None
        fields = ("run_id", "dependency_id", "continuation_id")
        return next((getattr(letter.message, name) for name in fields if hasattr(letter.message, name)), None)


def _both(one: Handled, other: Handled) -> Handled:
    return Handled([*one.letters, *other.letters], [*one.returns, *other.returns], [*one.shown, *other.shown])
