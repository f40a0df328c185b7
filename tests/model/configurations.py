"""What is put together for one check: how many of what, which verbs, how many faults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Configuration:
    """The bounds of one check."""

    waits: int = 1
    workers: int = 1
    consumers: int = 0
    """Consumers that claim a continuation before they tell it; 0: nobody claims."""
    faults: int = 1
    cancel: bool = False
    """The upstream may cancel the run."""
    attempt: bool = False
    """The upstream may give up attempt 1 and start attempt 2."""
    call_off: bool = False
    """Somebody may call off the checkpoint of a wait (`MANUAL`, `WORKLOAD_DISCONNECTED`)."""
    fail: bool = False
    """A take may fail for good."""
    again: bool = False
    """A take or a restore may fail in a way that another try can mend."""
    timed: bool = False
    """Waits end by the clock."""
    manual: bool = False
    """Waits end once their checkpoint is decided (`MANUAL` without a time)."""
    forged: bool = False
    """A token may be raised too early or by a stranger."""
    simulate: bool = False
    """An accepted process is left standing, and is the one that goes on."""
    elsewhere: bool = False
    """Restores happen on another node: no common lock."""
    handshake: bool = False
    """Each wait asks for it: the run is asked first, and frozen only once it has said that it is ready."""
    either: bool = False
    """Each restore happens on the run's own node or on another, as its request comes."""
    gone: bool = False
    """A fault may end what is frozen: the process that stands (`simulate`), or the image."""
    net: bool = False
    """The agent also settles what is paused, not only held restores."""


SMALL = {
    "plain": Configuration(fail=True),
    "back-off": Configuration(again=True),
    "forged token": Configuration(forged=True),
    "time wait": Configuration(timed=True, fail=True),
    "manual wait": Configuration(manual=True, call_off=True, fail=True, again=True),
    "back-off, two faults": Configuration(again=True, faults=2),
    "call off": Configuration(call_off=True),
    "elsewhere": Configuration(elsewhere=True, again=True),
    "either node": Configuration(either=True, again=True),
    "gone": Configuration(gone=True, again=True),
    "simulate, gone": Configuration(simulate=True, gone=True, again=True),
    "claims": Configuration(consumers=2),
    "net": Configuration(net=True, fail=True),
    "cancel": Configuration(cancel=True),
    "attempt": Configuration(attempt=True),
    "simulate": Configuration(simulate=True, fail=True, again=True),
    "simulate, cancel": Configuration(simulate=True, cancel=True),
    "simulate, net": Configuration(simulate=True, net=True, forged=True),
    "two workers": Configuration(workers=2, fail=True, again=True),
    "handshake": Configuration(handshake=True, fail=True, again=True),
    "handshake, manual wait": Configuration(handshake=True, manual=True, call_off=True, again=True),
    "two waits, no fault": Configuration(waits=2, faults=0),
}
"""Small enough to be checked with every run of the tests."""

LARGE = {
    "two consumers, two faults": Configuration(consumers=2, faults=2),
    "manual wait, cancel": Configuration(manual=True, call_off=True, cancel=True, fail=True, again=True, forged=True),
    "call off, cancel": Configuration(call_off=True, cancel=True),
    "simulate, manual wait": Configuration(simulate=True, manual=True, call_off=True, cancel=True, again=True),
    "simulate, attempt": Configuration(simulate=True, attempt=True),
    "simulate, two waits": Configuration(simulate=True, waits=2),
    "simulate, two waits, net": Configuration(simulate=True, waits=2, net=True),
    "handshake, all verbs": Configuration(handshake=True, cancel=True, call_off=True, again=True, forged=True),
    "handshake, attempt": Configuration(handshake=True, attempt=True, again=True),
    "handshake, two workers": Configuration(handshake=True, workers=2, again=True),
    "handshake, simulate": Configuration(handshake=True, simulate=True, cancel=True, again=True),
    "handshake, two faults": Configuration(handshake=True, again=True, faults=2),
    "handshake, two waits": Configuration(handshake=True, waits=2),
    "two faults": Configuration(faults=2, fail=True, again=True, forged=True),
    "elsewhere, two workers, two faults": Configuration(elsewhere=True, workers=2, faults=2),
    "either node, two workers, two faults": Configuration(either=True, workers=2, faults=2),
    "either node, cancel, two workers": Configuration(either=True, cancel=True, workers=2, again=True),
    "gone, cancel, two workers, two faults": Configuration(gone=True, cancel=True, workers=2, faults=2),
    "simulate, gone, two waits, two faults": Configuration(simulate=True, gone=True, waits=2, faults=2),
    "cancel, two workers": Configuration(cancel=True, workers=2, fail=True, again=True),
    "two waits": Configuration(waits=2),
    "two waits, net": Configuration(waits=2, net=True),
    "attempt, two waits, no fault": Configuration(attempt=True, waits=2, faults=0),
    "two workers, two faults": Configuration(workers=2, faults=2, fail=True, again=True),
    "simulate, two workers, two faults": Configuration(simulate=True, workers=2, faults=2, cancel=True),
    "two waits, two workers": Configuration(waits=2, workers=2),
    "simulate, two waits, two workers": Configuration(simulate=True, waits=2, workers=2),
    "cancel, two waits": Configuration(waits=2, cancel=True),
    "simulate, cancel, two waits": Configuration(simulate=True, waits=2, cancel=True),
    "cancel, two workers, two faults": Configuration(cancel=True, workers=2, faults=2),
    "attempt, two workers, two faults": Configuration(attempt=True, workers=2, faults=2),
    "all verbs, two workers": Configuration(
        workers=2, consumers=1, cancel=True, call_off=True, fail=True, again=True, forged=True
    ),
    "two waits, two faults": Configuration(waits=2, faults=2),
    "attempt, two waits": Configuration(attempt=True, waits=2),
}
"""For `python -m tests.model`: minutes each, the last ones more."""

EVERY = SMALL | LARGE
