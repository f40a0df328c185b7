"""What waits leave in Redis: every key that grows with the runs goes by itself."""

from typing import Any

from bad_completions import cancel, completion
from bad_defers import good
from letterbox import Letterbox
from psycopg import Connection
from sql_door import SqlDoor

from shared.broker import run
from shared.queues import DEFERRALS, RESUMES
from shared.settings import Settings
from workers.checkpoint.defer import DeferStory
from workers.intake import Story, handle
from workers.resume.resume import ResumeStory


def test_only_tokens_with_a_time_to_live_are_left_of_runs(
    settings: Settings, letterbox: Letterbox, conn: Connection[Any], door: SqlDoor
) -> None:
    """Waits begin, end and are cancelled: what has no time to live are the queues, and what is held for them."""
    _ = door
    keys = letterbox.keys
    waits = [good(delay_ms=delay, reply_to="continuations.mine") for delay in (0, 30_000, 30_000)]
    stories: list[tuple[Story, str, list[dict[str, Any]]]] = [
        (DeferStory(settings, keys), "checkpoint.defer", waits),
        (
            ResumeStory(settings, keys),
            "dependency.complete",
            [completion(dependency_id=wait["dependency"]["id"]) for wait in waits[:2]],
        ),
        (DeferStory(settings, keys), "checkpoint.cancel", [cancel(run_id=waits[2]["run_id"])]),
    ]
    for story, task, messages in stories:
        letterbox.put(story.queue, task, *messages)
        raws = letterbox.raws(keys.queue(story.queue))
        handle(story, raws, conn=conn, post=letterbox.post())

    queues = {keys.queue(name) for name in (DEFERRALS, RESUMES, "continuations.mine", "checkpoints.node-1")}
    found: Any = run(letterbox.client, ("KEYS", f"{settings.key_prefix}*"))[0]
    names = {key.decode() for key in found}
    for_ever = {name for name in names if run(letterbox.client, ("PTTL", name)) == [-1]}

    assert for_ever <= queues | {keys.held, keys.held_due}
    assert names - for_ever == {keys.token(wait["run_id"]) for wait in waits}
