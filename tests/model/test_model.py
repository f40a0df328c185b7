"""The protocol keeps its promises in every order of steps and faults, and each guard is there for a reason."""

import pytest

from .configurations import LARGE, SMALL, Configuration
from .explore import explore
from .guards import REASONS, Guards

PLAIN = SMALL["plain"]
CANCEL = SMALL["cancel"]
MANUAL = SMALL["manual wait"]
ELSEWHERE = SMALL["elsewhere"]
HANDSHAKE = SMALL["handshake"]
GONE = SMALL["gone"]
STANDING_CANCEL = SMALL["simulate, cancel"]
STANDING_TWICE = LARGE["simulate, two waits"]

BROKEN_WITHOUT = {
    "same_key": (PLAIN, "STUCK"),
    "mode_returned": (PLAIN, "LIVE"),
    "commit_first": (PLAIN, "EARLY"),
    "upstream_sends": (PLAIN, "STUCK"),
    "offer_open": (PLAIN, "LIVE"),
    "ready_first": (HANDSHAKE, "NOT READY"),
    "unanswered_closed": (SMALL["handshake, manual wait"], "STUCK"),
    "node_lock": (PLAIN, "OWNERLESS"),
    "claim_under_lock": (SMALL["two workers"], "OWNERLESS"),
    "child_lock": (PLAIN, "OWNERLESS"),
    "leave_standing": (SMALL["simulate"], "FROZEN BUT RUNNING"),
    "let_go_cancelled": (STANDING_CANCEL, "OWNERLESS"),
    "let_go_restored": (SMALL["simulate"], "STUCK"),
    "close_after_settle": (PLAIN, "OWNERLESS"),
    "retry_thaws": (SMALL["back-off"], "OWNERLESS"),
    "takeover_settles": (PLAIN, "OWNERLESS"),
    "discard_settles": (CANCEL, "OWNERLESS"),
    "discard_read_first": (STANDING_CANCEL, "OWNERLESS"),
    "image_by_epoch": (SMALL["back-off"], "NO IMAGE"),
    "token_first_only": (PLAIN, "STUCK"),
    "token_asks": (SMALL["forged token"], "TOKEN"),
    "sweep_due": (MANUAL, "STUCK"),
    "sweep_taking": (PLAIN, "STUCK"),
    "sweep_freed": (ELSEWHERE, "STUCK"),
    "freed_in_any_status": (ELSEWHERE, "STUCK"),
    "sweep_discarded": (CANCEL, "STUCK"),
    "sweep_restore": (PLAIN, "STUCK"),
    "sweep_unresumed": (PLAIN, "STUCK"),
    "sweep_time": (SMALL["time wait"], "STUCK"),
    "sweep_done": (PLAIN, "STUCK"),
    "lose": (GONE, "STUCK"),
    "permit": (CANCEL, "CANCELLED"),
    "permit_reread": (PLAIN, "STUCK"),
    "identity": (PLAIN, "STUCK"),
    "agent": (PLAIN, "STUCK"),
    "agent_lock": (SMALL["net"], "FROZEN BUT RUNNING"),
    "process_ignores": (PLAIN, "DOUBLED"),
    "claim_expires": (SMALL["claims"], "STUCK"),
    "done_by_process": (PLAIN, "STUCK"),
    "cancel_kept": (CANCEL, "CANCELLED"),
    "cancel_serial": (CANCEL, "CANCELLED"),
    "cancel_number": (LARGE["attempt, two waits"], "NOT ITS OWN"),
    "cancel_resumed": (CANCEL, "CANCELLED"),
    "cancel_discards": (CANCEL, "CANCELLED"),
    "two_columns": (Configuration(cancel=True, call_off=True, faults=0), "STUCK"),
    "announce_first": (SMALL["attempt"], "OLD ATTEMPT"),
    "manual_accepted": (MANUAL, "STUCK"),
    "manual_closed": (MANUAL, "STUCK"),
    "manual_unplanned": (MANUAL, "STUCK"),
    "manual_called_off": (MANUAL, "STUCK"),
}

BROKEN_WITHOUT_SLOWLY = {
    "next_is_done": (LARGE["two waits"], "STUCK"),
    "settle_newest": (STANDING_TWICE, "FROZEN BUT RUNNING"),
    "restore_lock": (STANDING_TWICE, "FROZEN BUT RUNNING"),
}

NOT_NEEDED_ALONE = {
    "offer_epoch": "the lock: nobody claims while another works",
    "offer_both": "the lock: nobody claims while another works",
    "offer_reread": "the settle, which reads the newest wait",
    "token_after": "the sweep of what is due: such a token costs a checkpoint, at most",
    "restore_open": "the cancel, which moves the row",
    "restore_lease": "the epoch in the permit",
    "permit_epoch": "the lease of the restore",
    "manual_put_back": "the next try: the wait ends later, as the contract does not allow",
}
"""Guards that a second one stands behind; a mistake in either leaves the other."""


@pytest.mark.parametrize("setup", SMALL.values(), ids=SMALL)
def test_nothing_is_lost_doubled_or_stuck(setup: Configuration) -> None:
    """In every order of steps and faults, one process goes on once from each wait, and nothing is left to do."""
    found = explore(setup)

    assert found.is_whole
    assert found.violation is None, found.trace


@pytest.mark.parametrize(("guard", "example"), BROKEN_WITHOUT.items(), ids=BROKEN_WITHOUT)
def test_each_guard_is_needed(guard: str, example: tuple[Configuration, str]) -> None:
    """With one guard switched off, some order of steps breaks a promise."""
    setup, promise = example

    violation = explore(setup, Guards().without(guard)).violation

    assert violation is not None
    assert violation.startswith(promise)


@pytest.mark.slow
@pytest.mark.parametrize(("guard", "example"), BROKEN_WITHOUT_SLOWLY.items(), ids=BROKEN_WITHOUT_SLOWLY)
def test_each_guard_is_needed_over_two_waits(guard: str, example: tuple[Configuration, str]) -> None:
    """The same, where the shortest example needs two waits."""
    test_each_guard_is_needed(guard, example)


@pytest.mark.slow
def test_lease_and_epoch_of_a_restore_stand_behind_each_other() -> None:
    """Either is enough for restores on two nodes; without both, two restorers permit the same checkpoint."""
    setup = LARGE["elsewhere, two workers, two faults"]

    assert explore(setup, Guards().without("restore_lease", "permit_epoch")).violation is not None


def test_every_guard_has_its_example() -> None:
    """A guard that is added comes with the trace that it prevents, or with what stands behind it."""
    assert set(REASONS) == {*BROKEN_WITHOUT, *BROKEN_WITHOUT_SLOWLY, *NOT_NEEDED_ALONE}
