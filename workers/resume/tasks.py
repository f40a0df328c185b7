"""The resume worker: a Celery worker whose one thread drains the queue `resumes`."""

from shared.broker import Keys
from shared.queues import make_app
from shared.settings import current_settings
from workers.cli.kinds import WorkerKind
from workers.control import refuse_revokes
from workers.drain import Drain
from workers.resume.resume import ResumeStory
from workers.steps import Runner, run_beside
from workers.watchers import EventWatcher

settings = current_settings()
app = make_app("resume", settings)


def _beside(hostname: str) -> list[Runner]:
    return [Drain(ResumeStory(settings, Keys(settings.key_prefix)), settings, EventWatcher(app, hostname))]


refuse_revokes()
run_beside(app, WorkerKind.RESUME, settings, _beside)
