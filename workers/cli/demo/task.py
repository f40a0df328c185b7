"""The program of a demo's child task: real work for a while, then its result.

python -S -I task.py NAME MILLISECONDS
"""

import hashlib
import os
import sys
import time

BLOCK = b"\0" * 65_536
PAUSE_SECONDS = 0.01


def main(name: str, milliseconds: str) -> None:
    """Hash, with pauses as for a network, until the time is over; print what came out, as JSON."""
    end = time.monotonic() + int(milliseconds) / 1000
    digest = hashlib.sha256(name.encode())
    rounds = 0
    while time.monotonic() < end:
        digest.update(BLOCK)
        rounds += 1
        time.sleep(min(PAUSE_SECONDS, max(0.0, end - time.monotonic())))
    os.write(1, f'{{"task": "{name}", "rounds": {rounds}, "digest": "{digest.hexdigest()}"}}\n'.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
