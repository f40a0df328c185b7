"""Both drains as threads of a test: the real ones, without the workers around them."""

from collections.abc import Generator
from contextlib import contextmanager

from at_once import at_once

from shared.broker import Keys
from shared.settings import Settings
from workers.checkpoint.defer import DeferStory
from workers.drain import Drain
from workers.intake import Handled
from workers.resume.resume import ResumeStory


class Nobody:
    """Watches and shows nothing: Flower is not there."""

    def taken(self, queue: str, handled: Handled) -> None:
        """Ignore a batch."""


@contextmanager
def drained(settings: Settings) -> Generator[list[Drain]]:
    """Drain `deferrals` and `resumes` for as long as the block runs."""
    keys = Keys(settings.key_prefix)
    drains = [Drain(story, settings, Nobody()) for story in (DeferStory(settings, keys), ResumeStory(settings, keys))]
    for drain in drains:
        drain.start()
    try:
        yield drains
    finally:
        # Each hears of it within a second.
        at_once(*(drain.stop for drain in drains))
