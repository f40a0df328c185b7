"""Named pipes, by which the platform of a demo and its runs speak: lines of words between tabs.

Nobody's end is inherited: a run that was frozen away and restored, whoever its parent is then, opens them by name. The
platform has both ends of each, so that a line for a run waits there while the run is gone, and a run hears the end of
its pipe when the platform has died.
"""

import os
from pathlib import Path
from threading import Lock
from typing import Final

_READ_BYTES: Final = 65_536


class Pipe:
    """A named pipe, made and held open by the platform.

    Args:
        path: Where it is made.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""
        # A descriptor that is closed while another thread writes may already be another file's.
        self._closing = Lock()
        self._is_closed = False

    def fileno(self) -> int:
        """Return the descriptor by which one can wait for a line."""
        return self._descriptor

    def tell(self, *words: object) -> bool:
        """Write a line; False: the pipe is closed. All that a run is ever told is far less than a pipe holds."""
        with self._closing:
            if not self._is_closed:
                os.write(self._descriptor, "\t".join(map(str, words)).encode() + b"\n")
            return not self._is_closed

    def heard(self) -> list[list[str]]:
        """Return the words of each line that came since; there has to be one."""
        *lines, self._rest = (self._rest + os.read(self._descriptor, _READ_BYTES)).split(b"\n")
        return [line.decode().split("\t") for line in lines]

    def close(self) -> None:
        """Let go of it; who reads from it then hears its end."""
        with self._closing:
            if not self._is_closed:
                os.close(self._descriptor)
            self._is_closed = True
