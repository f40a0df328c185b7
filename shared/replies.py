"""What comes on a reply queue, in Celery's protocol 2: continuations, questions, refusals, receipts, lost runs."""

from base64 import b64decode
from collections.abc import Generator
from threading import Event
from typing import Any, Final, TypeAlias, cast

import msgspec
import structlog
from redis import RedisError

from shared.broker import Keys, connect
from shared.messages import Continue, Message, Prepare, Refused, Taken, Unreachable
from shared.queues import TaskName
from shared.settings import Settings
from shared.telemetry.outage import Outage

Reply: TypeAlias = Continue | Prepare | Refused | Taken | Unreachable

AT_ONCE: Final = 100
BLOCK_SECONDS: Final = 1
AWAY_SECONDS: Final = 0.2
_TYPES: Final[dict[str, type[Message]]] = {
    TaskName.CONTINUE: Continue,
    TaskName.PREPARE: Prepare,
    TaskName.REFUSED: Refused,
    TaskName.UNREACHABLE: Unreachable,
    TaskName.TAKEN: Taken,
}

log = structlog.get_logger(__name__)


def take_replies(settings: Settings, queue: str, *, stopping: Event) -> Generator[Reply]:
    """Yield what comes on a queue until told to stop; a Redis that is away is waited out.

    What was taken and not yielded when a process dies is sent again: a continuation until `done`, and whoever waits
    for a receipt repeats the message.
    """
    redis = connect(settings, blocking=True)
    outage = Outage()
    key = Keys(settings.key_prefix).queue(queue)
    try:
        while not stopping.is_set():
            try:
                first: Any = redis.brpop([key], timeout=BLOCK_SECONDS)
                more: Any = redis.rpop(key, AT_ONCE) if first else None
            except RedisError as error:
                if outage.goes_on():
                    log.warning("replies.waiting", queue=queue, seconds=outage.seconds, error=str(error))
                stopping.wait(AWAY_SECONDS)
                continue
            if (seconds := outage.ended()) is not None:
                log.info("replies.back", queue=queue, seconds=seconds)
            raws: list[bytes] = [first[1], *(more or [])] if first else []
            yield from (reply for raw in raws if (reply := read_reply(raw)) is not None)
    finally:
        redis.close()


def read_reply(raw: bytes) -> Reply | None:
    """Read a reply; a message that is none of ours is told of and left out."""
    try:
        envelope: Any = msgspec.json.decode(raw)
        _, kwargs, _ = msgspec.json.decode(b64decode(envelope["body"]), type=tuple[Any, msgspec.Raw, Any])
        return cast("Reply", msgspec.json.decode(kwargs, type=_TYPES[envelope["headers"]["task"]]))
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("reply.unreadable", error=str(error))
        return None
