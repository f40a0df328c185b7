"""Make a dump of running tasks one that is restored standing.

criu restores each task as it was dumped. What a daemon had frozen by its cgroup was running to criu: started from such
a dump, it would run before anybody permitted it. So the state of each task in the dump is set to "stopped": restored,
all of them stand as after SIGSTOP, until SIGCONT. Of each `core-<pid>.img` one byte changes.

Source: criu, images/core.proto and include/magic.h: two magic numbers, then the length of a protobuf message and the
message; `core_entry.tc` is its field 3, `task_core_entry.task_state` the field 1 in there.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shared.errors import EngineUnsupported

COMMON_MAGIC, CORE_MAGIC = 0x54564319, 0x55053847
HEADER: Final = struct.Struct("<III")
TC, TASK_STATE = 3, 1
ALIVE, STOPPED = 1, 3
VARINT_BITS_MAX: Final = 64


def make_standing(folder: Path) -> int:
    """Set every task of the dump in a folder to stopped; return how many tasks there are.

    Tasks that were stopped already, and those that had ended, stay as they are. Repeated, it changes nothing.

    Raises:
        EngineUnsupported: It holds no tasks, or they are not written as we know it; then nothing was changed.
    """
    found = [(path, place) for path in sorted(folder.glob("core-*.img")) for place in _states(path)]
    if not found:
        raise EngineUnsupported(
            f"{folder.name} holds no task (core-*.img); expected a dump that criu made.", folder=str(folder)
        )
    for path, place in found:
        with path.open("r+b") as image:
            image.seek(place)
            if image.read(1) == bytes([ALIVE]):
                image.seek(place)
                image.write(bytes([STOPPED]))
    return len(found)


def _states(path: Path) -> Iterator[int]:
    """Yield where the state of a task lies in its file; nothing in the file of a thread, which has none.

    Raises:
        EngineUnsupported: The file is not what is expected.
    """
    image = path.read_bytes()
    try:
        common, magic, length = HEADER.unpack_from(image)
        if (common, magic) != (COMMON_MAGIC, CORE_MAGIC) or HEADER.size + length > len(image):
            raise ValueError("its header is another")
        for number, start, end in _fields(image, HEADER.size, HEADER.size + length):
            if number == TC:
                places = [at for inner, at, _ in _fields(image, start, end) if inner == TASK_STATE]
                if len(places) != 1:
                    raise ValueError("a task has no state, or several")
                yield from places
    except (ValueError, IndexError, struct.error) as error:
        raise EngineUnsupported(
            f"{path.name} of a dump is not written as expected: {error}. Use a criu of version 3.11 to 4.2.",
            file=path.name,
        ) from error


def _fields(message: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field of a protobuf message, and where its value begins and ends."""
    while start < end:
        key, start = _varint(message, start)
        match key & 7:  # how the value is written: a number, 8 bytes, 4 bytes, or a length and bytes
            case 0:
                after = _varint(message, start)[1]
            case 1:
                after = start + 8
            case 5:
                after = start + 4
            case 2:
                length, start = _varint(message, start)
                after = start + length
            case kind:
                raise ValueError(f"a field is of the kind {kind}")
        if after > end:
            raise ValueError("a field is longer than its message")
        yield key >> 3, start, after
        start = after


def _varint(message: bytes, start: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, the lowest first, and where it ends."""
    number = 0
    for shift in range(0, VARINT_BITS_MAX, 7):
        byte = message[start + shift // 7]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that another byte follows
            return number, start + shift // 7 + 1
    raise ValueError("a number is too long")
