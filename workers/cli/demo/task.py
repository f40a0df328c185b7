"""The program of a demo's child task: real work for a while, then its result.

    python -S -I task.py NAME MILLISECONDS [PID]

With the PID of its run it ends earlier: as soon as that stands, for its checkpoint is being taken.
"""

import hashlib
import os
import sys
import time
from pathlib import Path

BLOCK = b"\0" * 65_536
PAUSE_SECONDS = 0.01


def main(name: str, milliseconds: str, pid: str = "") -> None:
    """Hash, with pauses as for a network, until the time is over; print what came out, as JSON."""
    end = time.monotonic() + int(milliseconds) / 1000
    digest = hashlib.sha256(name.encode())
    rounds = 0
    while time.monotonic() < end and not (pid and stands(pid)):
        digest.update(BLOCK)
        rounds += 1
        time.sleep(min(PAUSE_SECONDS, max(0.0, end - time.monotonic())))
    os.write(1, f'{{"task": "{name}", "rounds": {rounds}, "digest": "{digest.hexdigest()}"}}\n'.encode())


def stands(pid: str) -> bool:
    """Return whether a process is stopped, or gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
    except (FileNotFoundError, ProcessLookupError):
        return True


if __name__ == "__main__":
    main(*sys.argv[1:])
