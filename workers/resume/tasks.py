"""The resume worker: a Celery worker whose one thread drains the queue `resumes`."""

from shared.broker import Keys
from shared.queues import make_app
from shared.settings import current_settings
from workers.control import refuse_revokes
from workers.drain import Drain
from workers.resume.resume import ResumeStory
from workers.steps import run_beside
from workers.watchers import EventWatcher

settings = current_settings()
app = make_app("resume", settings)


def _drain(hostname: str) -> Drain:
    return Drain(ResumeStory(settings, Keys(settings.key_prefix)), settings, EventWatcher(app, hostname))


refuse_revokes()
run_beside(app, "Resumes", _drain)
