"""The Celery app of the workers that the tests start: tasks that write down that they ran."""

import os
import time

from shared.broker import connect
from shared.queues import make_app
from shared.settings import read_settings

settings = read_settings(os.environ)
app = make_app("tests", settings)
client = connect(settings)
RAN = f"{settings.key_prefix}test:ran"
GATE = f"{settings.key_prefix}test:gate"


@app.task(name="note")
def note(word: str) -> None:
    """Write down that this ran."""
    client.rpush(RAN, word)


@app.task(name="hold")
def hold(word: str) -> None:
    """Write down that this began, stay unacknowledged until the gate is opened or Redis is gone."""
    client.rpush(RAN, f"{word} began")
    while not client.exists(GATE):
        time.sleep(0.01)
    client.rpush(RAN, f"{word} ended")
