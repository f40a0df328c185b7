"""Become another program that dies with its parent, as another user or under a lock if asked.

    python child.py [--die-with SIGNAL] [--nobody] [--lock FILE] [--pause SECONDS] -- PROGRAM [ARGUMENT ...]

Run by its path and without `site`, so it imports the standard library only: it starts with every process.
`LAUNCHED_BY` in the environment names the parent; the program finds its own pid there, for its own children.
"""

import ctypes
import fcntl
import os
import signal
import sys
import time

PARENT = "LAUNCHED_BY"

# linux/prctl.h, linux/securebits.h, linux/capability.h
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_CAP_AMBIENT = 1, 8, 28, 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE, CAP_SETPCAP = 1, 8
CAPABILITY_VERSION_3 = 0x20080522


class CapabilityHeader(ctypes.Structure):
    """Whose capabilities `capset` changes."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilitySets(ctypes.Structure):
    """One half (32 of 64) of a thread's capability sets."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def become_nobody() -> None:
    """Give up root, but go on reading and entering every folder.

    Postgres refuses to run as root, and its data and the wheel with its programs often lie below a folder
    that only root may enter (a clone under /root). So one capability is kept: to pass permission checks.
    Where it cannot be kept, the user changes all the same, which does for folders that are open.
    """
    import pwd  # noqa: PLC0415 - only servers that run as another user need it

    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    if not sys.platform.startswith("linux"):
        os.setuid(nobody.pw_uid)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setuid(nobody.pw_uid)
    override, change_bits = 1 << CAP_DAC_OVERRIDE, 1 << CAP_SETPCAP
    sets = (CapabilitySets * 2)()
    sets[0] = CapabilitySets(override | change_bits, override | change_bits, override)
    libc.capset(ctypes.byref(CapabilityHeader(CAPABILITY_VERSION_3, 0)), sets)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)
    # Without it access(2), by which Postgres looks for its programs, ignores the capabilities of a user
    # who is not root.
    libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)


def die_with_parent(death: signal.Signals) -> None:
    """Ask the kernel for a signal at the parent's death; end at once if it is dead already."""
    if not sys.platform.startswith("linux"):
        return
    # After any change of user, which clears it. It survives exec.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death), 0, 0, 0)
    if os.getppid() != int(os.environ.get(PARENT, os.getppid())):
        sys.exit("the parent is gone")


def hold(lock: str) -> None:
    """Wait for a lock that then lasts as long as the program and its children: one server per data folder."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - positional only


def main(arguments: list[str]) -> None:
    """Do what the options ask for, in the order that the kernel needs, and exec the program."""
    split = arguments.index("--")
    options, program = iter(arguments[:split]), arguments[split + 1 :]
    chosen: dict[str, str] = {}
    for option in options:
        chosen[option] = "" if option == "--nobody" else next(options)
    if "--nobody" in chosen:
        become_nobody()
    if "--die-with" in chosen:
        die_with_parent(signal.Signals[chosen["--die-with"]])
    time.sleep(float(chosen.get("--pause", "0")))
    if "--lock" in chosen:
        hold(chosen["--lock"])
    # Whoever starts us may hold signals back for a moment; the program has to hear them.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.environ[PARENT] = str(os.getpid())
    os.execvp(program[0], program)  # noqa: S606 - argument lists, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
