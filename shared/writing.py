"""Writing a message that was made in Python: its JSON, held to the same rules as one that comes from elsewhere."""

import json

import msgspec

from shared.errors import Refused
from shared.messages import Message
from shared.reading import read


def written(message: Message) -> bytes:
    """Return a message's JSON.

    Raises:
        Refused: It breaks a rule that one message can be judged by, or JSON has no word for a part of it.
    """
    try:
        body = msgspec.json.encode(message)
        # A struct that was made by hand was not checked.
        read(body, type(message))
        # What JSON cannot say was made into something else: NaN into null, bytes into base64.
        plain = msgspec.to_builtins(message, builtin_types=(bytes, bytearray, memoryview))
        msgspec.convert(plain, type(message))
        json.dumps(getattr(message, "outcome", None), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(
            f"the message cannot be said in JSON: {error}. Send numbers, texts, lists, objects, true, false, null."
        ) from error
    return body
