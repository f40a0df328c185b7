"""Resuming waits that are over: the story of the queue `resumes`, and the only writer of `resumed_at`.

Reads like the design's paragraph "The wait ends first": completion and resume in one conditional update, commit,
then one round trip with the continuations first and the tokens behind them.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from psycopg import Connection

from shared.broker import Keys
from shared.continuations import add_what_it_calls_for
from shared.db import dependencies
from shared.db.deferrals import Revocation
from shared.db.dependencies import CompleteAnswer, Resumed
from shared.letters import Letter
from shared.messages import Complete, Done, Message, Resume
from shared.post import Post
from shared.queues import RESUMES, TaskName
from shared.settings import Settings
from shared.tokens import raise_commands
from shared.vocabulary import OwnReason
from workers.intake import Written
from workers.resume.shown import of_batch, of_revoked_takes


class ResumeStory:
    """Marks waits resumed, exactly once each, before it enqueues their continuations.

    Args:
        settings: How long a token lives.
        keys: Where tokens are.
    """

    queue = RESUMES
    types: Mapping[TaskName, type[Message]] = MappingProxyType(
        {TaskName.COMPLETE: Complete, TaskName.RESUME: Resume, TaskName.DONE: Done}
    )

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._token_ttl = timedelta(milliseconds=settings.token_ttl_ms)
        self._keys = keys

    def write(self, conn: Connection[Any], letters: Sequence[Letter]) -> Written:
        """Write completions, resumes and ends of continuations; read what the resumed waits call for."""
        ends = [letter.message.continuation_id for letter in letters if isinstance(letter.message, Done)]
        ended = dependencies.done(conn, ends) if ends else []
        resumed, answers = self._complete(conn, letters)
        # A hint, or a completion that came again: it may be complete and not resumed, or resumed and its
        # continuation lost between commit and send.
        known = set(resumed)
        again = [id_ for id_ in _named(letters) if id_ not in known]
        if again:
            known.update(dependencies.resume(conn, again))
        rows = dependencies.to_continue(conn, [*resumed, *again]) if resumed or again else []
        refused = {number: answer.refused for number, answer in answers.items() if answer.refused}
        shown = [
            *of_batch(letters, answers=answers, ended=set(ended), rows=rows),
            *of_revoked_takes(rows, known),
        ]
        return Written(refused, lambda post: self._send(post, rows), shown)

    def _complete(
        self, conn: Connection[Any], letters: Sequence[Letter]
    ) -> tuple[list[str], dict[int, CompleteAnswer]]:
        numbered = [(number, letter) for number, letter in enumerate(letters) if isinstance(letter.message, Complete)]
        if not numbered:
            return [], {}
        result = dependencies.complete(conn, [letter.body for _, letter in numbered], how="resume")
        answered = zip(numbered, result.answers, strict=True)
        return result.completed, {number: answer for (number, _), answer in answered}

    def _send(self, post: Post, rows: Sequence[Resumed]) -> None:
        for row in rows:
            add_what_it_calls_for(post, row)
        revoked = [Revocation(row.run_id, row.wait_number, OwnReason.DEPENDENCY_RESUMED) for row in rows]
        for command in raise_commands(self._keys, revoked, ttl=self._token_ttl):
            post.then(*command)


def _named(letters: Sequence[Letter]) -> list[str]:
    """Return the dependencies that completions and hints name, each once."""
    ids = [letter.message.dependency_id for letter in letters if isinstance(letter.message, Complete | Resume)]
    return list(dict.fromkeys(ids))
