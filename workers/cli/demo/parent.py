"""The program of a demo's run: it works, starts a task, waits for it, goes on, waits again, ends.

    python -S -I parent.py RUN LEDGER WAIT ...          each WAIT is `task` or `time`

It knows nothing of checkpoints. It speaks with its platform in lines of words between tabs: it says `start NUMBER`,
`wait NUMBER`, `done CONTINUATION NUMBER MODE MOMENT`, and hears `go NUMBER MODE CONTINUATION OUTCOME`. Only light
modules are imported: it starts in 9 ms.
"""

import hashlib
import os
import sys
import time

WORK_ROUNDS = 40
BLOCK = b"\0" * 131_072


def main(run: str, path: str, *waits: str) -> None:
    """Go through the run, and write each step into its ledger."""
    ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number, kind in enumerate(waits, start=1):
        if kind == "task":
            say("start", number)
        work()
        say("wait", number)
        go_on(run, ledger, number)
    work()


def go_on(run: str, ledger: int, number: int) -> None:
    """Wait for the continuation of a wait; one of a wait that was passed is a repeat: it is answered, no more."""
    while True:
        line = sys.stdin.readline()
        if not line:
            sys.exit("the platform is gone")
        _, told, mode, continuation, outcome = line.rstrip("\n").split("\t")
        moment = time.monotonic()
        is_next = int(told) == number
        # One write a line: it is there as a whole or not at all, whatever happens to this process.
        os.write(ledger, "\t".join(["went-on" if is_next else "ignored", run, told, mode, outcome]).encode() + b"\n")
        say("done", continuation, told, mode, moment)
        if is_next:
            return


def work() -> None:
    """Do some real work."""
    digest = hashlib.sha256()
    for _ in range(WORK_ROUNDS):
        digest.update(BLOCK)
        time.sleep(0.001)


def say(*words: object) -> None:
    """Tell the platform."""
    os.write(1, "\t".join(map(str, words)).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
