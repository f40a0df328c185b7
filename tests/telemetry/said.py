"""A process that logs what a test wants: `said.py NAME`; its lines are on standard error."""

import logging
import sys
import threading
import warnings
from collections.abc import Callable

import structlog

from shared.telemetry import logs

URL = "redis://me:s3cret-word@host:6379/0"
NASTY = "run-\x1b[31m\r\nfake\x7f\x9b\u2028\u202e\ud800"
log = structlog.get_logger("said")


def facts() -> None:
    """Say one thing with facts."""
    log.info("checkpoint.accepted", run_id="run-1", epoch=2)


def nasty() -> None:
    """Say what no terminal may see, as a fact, in an event, as a key, and in an error."""
    event = "event." + NASTY
    log.info(event, **{"run_id": NASTY, "key" + NASTY: 1, "facts": {NASTY: [NASTY]}})
    try:
        raise ValueError(NASTY)
    except ValueError:
        log.warning("error.raised", exc_info=True)


def secret() -> None:
    """Say a password in every place where it could be."""
    log.info("a.b", url=URL, inside={"list": [URL]}, object=ValueError(URL), bare="it is s3cret-word")
    logging.getLogger("redis").error("cannot connect to %s", URL)
    try:
        raise ConnectionError(URL)
    except ConnectionError:
        log.warning("c.d", exc_info=True)


def libraries() -> None:
    """Let the libraries say something."""
    for name in ("celery.worker", "kombu", "redis", "psycopg.pool", "flower.events", "tornado.general"):
        logging.getLogger(name).warning("from %s", name, extra={"more": 1})
    warnings.warn("from warnings", stacklevel=1)


def crash() -> None:
    """Let a thread crash, then the process."""
    thread = threading.Thread(target=_raise, name="worker-7")
    thread.start()
    thread.join()
    _raise()


def _raise() -> None:
    raise RuntimeError(f"lost {URL}")


if __name__ == "__main__":
    KNOWN: dict[str, Callable[[], None]] = {one.__name__: one for one in (facts, nasty, secret, libraries, crash)}
    logs.set_up(worker="resume", urls=[URL])
    KNOWN[sys.argv[1]]()
