"""The program of a demo's run: it works, starts a task, waits for it, goes on, waits again, ends.

    python -S -I parent.py FOLDER MEGABYTES WAIT ...          each WAIT is `task` or `time`

It knows nothing of checkpoints, and can be frozen away and restored at any moment: it has no terminal, no connection
and no pipe from its parent. It speaks with its platform in lines of words between tabs. What it says goes, with its
name in front, into the named pipe of the platform, beside its own folder, which it opens for each line: `start NUMBER`,
`wait NUMBER`, `done CONTINUATION NUMBER MODE MOMENT`, and in the end `ended` or `failed`. It hears from a named pipe in
its folder: `go NUMBER MODE CONTINUATION OUTCOME`, or its end, when the platform is gone.

Only light modules are imported: it starts in 9 ms.
"""

import os
import sys
import time
import zlib

PARTS = 40
COPIES = 4
PAUSE_SECONDS = 0.001
READ_BYTES = 65_536


class Platform:
    """The other end of the named pipes."""

    def __init__(self, folder: str) -> None:
        above, self._name = os.path.split(folder)
        self._outbox = f"{above}/platform"
        self._inbox = os.open(f"{folder}/inbox", os.O_RDONLY)
        self._rest = b""

    def say(self, *words: object) -> None:
        """Tell the platform a line; one that is gone ends this program."""
        outbox = os.open(self._outbox, os.O_WRONLY | os.O_NONBLOCK)
        # A platform that is gone is told at once, one that is slow is waited for.
        os.set_blocking(outbox, True)
        os.write(outbox, "\t".join([self._name, *map(str, words)]).encode() + b"\n")
        os.close(outbox)

    def hear(self) -> list[str]:
        """Return the words of the next line."""
        while b"\n" not in self._rest:
            more = os.read(self._inbox, READ_BYTES)
            if not more:
                sys.exit("the platform is gone")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode().split("\t")


def main(folder: str, megabytes: str, *waits: str) -> None:
    """Go through the run, and write each step into its ledger."""
    platform = Platform(folder)
    ledger = os.open(f"{folder}/ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    memory = remember(int(megabytes) << 20)
    known = work(memory)
    for number, kind in enumerate(waits, start=1):
        if kind == "task":
            platform.say("start", number)
        platform.say("wait", number)
        go_on(platform, ledger, number)
        if work(memory) != known:
            platform.say("failed")
            sys.exit(f"the memory is not what it was before wait {number}")
    platform.say("ended")


def go_on(platform: Platform, ledger: int, number: int) -> None:
    """Wait for the continuation of a wait; one of a wait that was passed is a repeat: it is answered, no more."""
    is_next = False
    while not is_next:
        _, told, mode, continuation, outcome = platform.hear()
        # By the wall clock: the monotonic one of a restored process did not run while it was frozen.
        moment = time.time()
        is_next = int(told) == number
        # One write a line: it is there as a whole or not at all, whatever happens to this process.
        os.write(ledger, "\t".join(["went-on" if is_next else "ignored", told, mode, outcome]).encode() + b"\n")
        platform.say("done", continuation, told, mode, moment)


def remember(size: int) -> list[bytes]:
    """Return so many bytes in parts. As a text's, they are no noise and no nothing: they pack to an eighth."""
    return [os.urandom(size // PARTS // COPIES // 2).hex().encode() * COPIES for _ in range(PARTS)]


def work(memory: list[bytes]) -> int:
    """Go through all that is remembered, with pauses as for a network; return what came out."""
    result = 0
    for part in memory:
        result = zlib.crc32(part, result)
        time.sleep(PAUSE_SECONDS)
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
