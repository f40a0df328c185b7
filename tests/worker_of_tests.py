"""The Celery app of the workers that the tests start: tasks that write down that they ran."""

import time

from redis import RedisError

from shared.broker import connect
from shared.queues import make_app
from shared.settings import read_settings

settings = read_settings()
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
    """Write down that this began, and stay unacknowledged until the gate is open, also without a Redis."""
    client.rpush(RAN, f"{word} began")
    while not gate_is_open():
        time.sleep(0.01)


def gate_is_open() -> bool:
    """Tell whether the test lets the held tasks end."""
    try:
        return client.exists(GATE) == 1
    except RedisError:
        return False
