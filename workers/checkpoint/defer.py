"""Registering waits, calling them off, hearing runs that were asked: the story of the queue `deferrals`.

The rules are SQL (apply_deferrals).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, cast

from psycopg import Connection

from shared.broker import Keys
from shared.db import deferrals
from shared.db.deferrals import Deferral, Kind
from shared.follow_ups import add_follow_up
from shared.letters import Letter
from shared.messages import Cancel, Defer, Message, Ready
from shared.post import Post
from shared.queues import DEFERRALS, TaskName
from shared.settings import Settings
from workers.checkpoint.shown import of_result
from workers.intake import Written

_KINDS: Final[dict[TaskName, Kind]] = {
    TaskName.DEFER: "defer",
    TaskName.CANCEL: "cancel",
    TaskName.READY: "ready",
}


class DeferStory:
    """Writes registrations, cancels and answers in their order; then sends takes, hints and tokens.

    Args:
        settings: The horizon up to which a take is sent at once.
        keys: Where tokens are.
    """

    queue = DEFERRALS
    types: Mapping[TaskName, type[Message]] = MappingProxyType(
        {TaskName.DEFER: Defer, TaskName.CANCEL: Cancel, TaskName.READY: Ready}
    )

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._settings = settings
        self._keys = keys

    def write(self, conn: Connection[Any], letters: Sequence[Letter]) -> Written:
        """Apply the letters in their order, each judged for itself."""
        results = deferrals.apply(conn, [Deferral(_KINDS[letter.task], letter.body) for letter in letters])

        def follow(post: Post) -> None:
            for letter, result in zip(letters, results, strict=True):
                message = cast("Defer | Cancel | Ready", letter.message)
                add_follow_up(post, message, result, settings=self._settings, keys=self._keys)

        refused = {number: result.refused for number, result in enumerate(results) if result.refused}
        shown = [one for letter, result in zip(letters, results, strict=True) for one in of_result(letter, result)]
        return Written(refused, follow, shown)
