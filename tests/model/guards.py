"""What the protocol does so that nothing is lost, doubled or stuck; each can be switched off to see why it is there.

The number is that of the rule in ARCHITECTURE.md which the guard serves.
"""

from dataclasses import dataclass, field, fields, replace


def _on(rule: int, reason: str) -> bool:
    return field(default=True, metadata={"rule": rule, "reason": reason})


@dataclass(frozen=True, slots=True)
class Guards:
    """Every guard of the protocol, on unless switched off."""

    # Registration, completion, resume.
    same_key: bool = _on(1, "registration and completion serialise on the dependency's primary key")
    mode_returned: bool = _on(1, "live or restore comes from RETURNING of the update that resumes")
    commit_first: bool = _on(2, "the continuation is sent after the commit that resumes")
    next_is_done: bool = _on(1, "registering a wait ends the continuations of the attempt's earlier waits")
    upstream_sends: bool = _on(3, "an upstream sends defer, complete and cancel until they are answered")

    # The offer.
    offer_open: bool = _on(4, "the offer's update of `dependency` asks whether the wait is over or called off")
    offer_epoch: bool = _on(4, "the offer's update of `checkpoint` asks for the epoch, not only for `taking`")
    offer_both: bool = _on(4, "no row in the second update of the offer rolls the first one back")
    offer_reread: bool = _on(12, "an offer whose answer was lost is read again by epoch, never guessed")

    # The handshake.
    ready_first: bool = _on(9, "the claim of a wait that asked for a handshake needs its `ready_at`")
    unanswered_closed: bool = _on(1, "a take that finds `asked_at` without `ready_at`, the time over, closes the row")

    # The node lock, and what is settled under it.
    node_lock: bool = _on(5, "engines are called only under the node lock")
    claim_under_lock: bool = _on(5, "a take claims under the lock, not before it")
    child_lock: bool = _on(5, "an engine command that outlives its worker keeps the lock")
    restore_lock: bool = _on(5, "a restore on the node holds the lock from its claim to the thaw")
    settle_newest: bool = _on(6, "a standing process is settled by the newest wait of its workload, not by one's own")
    leave_standing: bool = _on(6, "simulate: a standing process whose newest wait has a checkpoint is not thawed")
    let_go_cancelled: bool = _on(6, "simulate: it is let go once that wait is cancelled")
    let_go_restored: bool = _on(6, "simulate: it is let go once that checkpoint is `restored`")
    close_after_settle: bool = _on(6, "a row is closed only after its process is settled")
    retry_thaws: bool = _on(6, "a row goes back to `deferred` only after its process is settled")
    takeover_settles: bool = _on(6, "a take that finds `taking` and the wait over settles before it closes")
    discard_settles: bool = _on(6, "the duty of a `discarded` row includes its process, not only its image")
    discard_read_first: bool = _on(6, "only a try that read `discarded` before it settled ends that duty")
    image_by_epoch: bool = _on(5, "a try that did not end in an acceptance discards its own epoch's image only")

    # Tokens: advice.
    token_after: bool = _on(7, "a token is raised after the commit that ended the wait")
    token_first_only: bool = _on(7, "only the countdown's own first message may end at a token")
    token_asks: bool = _on(7, "a try that a token broke off closes its row only if Postgres calls the wait over")

    # Duties that a sweep finds.
    sweep_due: bool = _on(3, "due, and no row: the take is sent")
    sweep_taking: bool = _on(3, "`taking` or `deferred`: the take is sent")
    sweep_freed: bool = _on(3, "accepted, `freed_at` is null: the take is sent")
    freed_in_any_status: bool = _on(3, "`freed_at` null stays a duty when the row moves on from `accepted`")
    sweep_discarded: bool = _on(3, "`discarded`, the image is there: the take is sent")
    sweep_restore: bool = _on(3, "resumed, has a checkpoint, not restored: the restore is sent")
    sweep_unresumed: bool = _on(3, "complete, not resumed: the hint is sent")
    sweep_time: bool = _on(3, "a time that is over is completed by the sweeper")
    sweep_done: bool = _on(1, "a continuation is sent again until it is done, not until it is sent")

    # Restores.
    lose: bool = _on(1, "a restore that finds nothing left ends the checkpoint as `lost`, and the upstream is told")
    restore_open: bool = _on(10, "a restore is claimed only if the wait is resumed and not cancelled")
    restore_lease: bool = _on(5, "a restore under way is claimed again only when its lease is over")
    permit: bool = _on(10, "a restored process is held until one conditional update permits it")
    permit_epoch: bool = _on(10, "the permit asks for the epoch, not only for `restoring`")
    permit_reread: bool = _on(10, "a permit without a row is read again: `restored` with my epoch is permitted")
    identity: bool = _on(10, "a restored process has an identity of its own")
    agent: bool = _on(9, "the agent thaws what is permitted and removes held orphans")
    agent_lock: bool = _on(9, "the agent takes the lock and reads again before it acts")

    # Continuations.
    process_ignores: bool = _on(1, "the process ignores a wait that it has passed")
    claim_expires: bool = _on(1, "the claim of a continuation is a lease")
    done_by_process: bool = _on(1, "`done` comes from the process, not from sending")

    # Cancels and attempts.
    cancel_kept: bool = _on(8, "a cancel that comes before its wait is kept as a mark")
    cancel_serial: bool = _on(8, "registration and cancel serialise on the run")
    cancel_number: bool = _on(8, "a cancel ends the waits that its sender meant, not those of now")
    cancel_resumed: bool = _on(10, "a cancel also ends a wait that is resumed and not done")
    cancel_discards: bool = _on(10, "a cancel moves `accepted` and `restoring` to `discarded` in its transaction")
    two_columns: bool = _on(8, "`called_off_at` and `cancelled_at` are two columns")
    announce_first: bool = _on(8, "attempt 2 starts when the end of attempt 1 was answered")

    # MANUAL waits without a time: each of these transactions sets `resume_at`.
    manual_accepted: bool = _on(1, "the one that accepts the checkpoint")
    manual_closed: bool = _on(1, "the one that closes the checkpoint")
    manual_put_back: bool = _on(1, "the one that puts the checkpoint back for the first time")
    manual_unplanned: bool = _on(1, "the registration, if there will be no checkpoint")
    manual_called_off: bool = _on(1, "the cancel that calls the checkpoint off")

    def without(self, *names: str) -> "Guards":
        """Return these guards with the named ones switched off."""
        return replace(self, **dict.fromkeys(names, False))


REASONS = {f.name: f"rule {f.metadata['rule']}: {f.metadata['reason']}" for f in fields(Guards)}
