"""Starts a run as a good upstream does, and asks how each of its processes ended, so that pids are free again.

    python starter.py PID_FILE shared|own PROGRAM [ARGUMENT ...]

`own`: the run is the first process of a pid namespace of its own. Ends when the run and all that it left have ended.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWPID = 0x20000000

if __name__ == "__main__":
    pid_file, namespace, *command = sys.argv[1:]
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if namespace == "own" and libc.unshare(CLONE_NEWPID):
        sys.exit("no pid namespace can be made")
    run = subprocess.Popen(command, start_new_session=True)
    new = Path(pid_file + ".new")
    new.write_text(str(run.pid))
    new.rename(pid_file)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
