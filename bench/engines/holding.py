"""A run that holds so many MB of heap, and writes a line to a file every few milliseconds while it runs.

    python holding.py FOLDER MEGABYTES random|text

`random` cannot be compressed. `text` is lines of JSON, each another, as a program's records are: about a tenth when
compressed. Run by its path and without `site`: only the standard library.
"""

import os
import sys
import time
from pathlib import Path

MEGABYTE = 10**6
# Repeated no sooner than this, which is farther back than a quick compression looks.
TEXT_BYTES = 16 * MEGABYTE
LINE = '{{"id": {number}, "run": "run-{run}", "state": "waiting", "seconds": {seconds}}}\n'
READY, TICKS = "ready", "ticks"
PAUSE_SECONDS = 0.002


def text() -> bytes:
    """Return lines of JSON."""
    lines: list[str] = []
    left = TEXT_BYTES
    number = 0
    while left > 0:
        number += 1
        lines.append(LINE.format(number=number, run=number * 2654435761 % 2**32, seconds=number % 977 / 8))
        left -= len(lines[-1])
    return "".join(lines).encode()


def heap(megabytes: int, kind: str) -> list[bytearray]:
    """Return so much memory, a megabyte a piece."""
    if kind == "random":
        return [bytearray(os.urandom(MEGABYTE)) for _ in range(megabytes)]
    source = text() if megabytes else b""
    starts = [number * MEGABYTE % TEXT_BYTES for number in range(megabytes)]
    return [bytearray(source[start : start + MEGABYTE]) for start in starts]


if __name__ == "__main__":
    folder, size, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    held = heap(size, kind)
    (folder / READY).touch()
    ticks = os.open(folder / TICKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        os.write(ticks, b".")
        time.sleep(PAUSE_SECONDS)
