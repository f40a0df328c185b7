"""A state machine of everything that an upstream may say, in any order, twice, early, late or never."""

import os
import signal
from typing import Any, ClassVar, cast

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule
from psycopg.types.json import Jsonb
from runs import Run

from shared.messages import Continue, Refused
from shared.vocabulary import CancelReason, Mode, OutcomeType
from tests.machine.rules import Rows, broken, taken_back, waits
from tests.machine.upstream_model import ITEMS, ModelRun, Said, UpstreamModel
from tests.machine.workers_model import WorkersModel, dying

REASONS = ["WAIT_FOR_TASK", "WAIT_FOR_TASK", "WAIT_FOR_DURATION", "WAIT_FOR_BATCH", "MANUAL", "RETRYING_AFTER_FAILURE"]
# How a message comes: over its queue, through SQL in the upstream's own transaction, or later, by another rule.
WAYS = st.sampled_from(["queue", "queue", "sql", "later"])
DOORS = {
    "checkpoint.defer": b"SELECT defer_checkpoint_many(%s)",
    "checkpoint.cancel": b"SELECT cancel_checkpoint_many(%s)",
    "dependency.complete": b"SELECT complete_dependency_many(%s)",
}
QUIET_ROUNDS = 40
NOTHING = cast("Any", multiple())  # a rule that says nothing adds nothing to its bundle
HALF_HOUR = 2_000.0  # longer than any time, gap, lease and seal limit


class UpstreamVerbs(RuleBasedStateMachine):
    """Two runs, each in a process of its own; every step is done whole before the next, unless its worker dies."""

    workers: ClassVar[WorkersModel]
    processes: ClassVar[tuple[Run, Run]]

    said = Bundle("said")
    ours = Bundle("ours")

    @initialize()
    def begin(self) -> None:
        """Two runs begin, in processes that run."""
        for process in self.processes:
            os.kill(process.workload.pid or 0, signal.SIGCONT)
        self.workers.begin()
        runs = [ModelRun(f"run-{number}", process.workload) for number, process in enumerate(self.processes)]
        self.upstream = UpstreamModel(runs)
        self.before: Rows = {}
        self.inbox: list[Continue | Refused] = []
        self.late: list[bytes] = []

    def run(self, number: int) -> ModelRun:
        """Return a run."""
        return self.upstream.runs[f"run-{number}"]

    def say(self, said: Said, way: str) -> bytes:
        """Send a message one way or another; returns it for later repeats."""
        item = self.workers.item(said)
        task, fields = said
        if way == "later":
            self.late.append(item)
        elif way == "sql" and task in DOORS:
            answer = self.workers.conn.execute(DOORS[task], [Jsonb([{"v": 1} | fields])]).fetchone()
            if answer is not None and "refused" in answer[0][0]:
                self.upstream.refused(task, fields.get("dependency", {}).get("id"))
        else:
            self.workers.drain(item)
        return item

    @rule(
        target=said,
        number=st.integers(0, 1),
        reason=st.sampled_from(REASONS),
        delay_ms=st.sampled_from([0, 0, 5_000]),
        handshake=st.sampled_from([False, False, True]),
        way=WAYS,
    )
    def wait(self, number: int, reason: str, delay_ms: int, handshake: bool, way: str) -> Any:  # noqa: FBT001
        """A run that goes on comes to its next wait."""
        run = self.run(number)
        if run.waiting is not None or run.is_over:
            return NOTHING
        return self.say(self.upstream.wait(run, reason, delay_ms=delay_ms, handshake=handshake), way)

    @rule(target=said, number=st.integers(0, 1), ahead=st.sampled_from([0, 0, 0, 1, -1]), way=WAYS)
    def ready(self, number: int, ahead: int, way: str) -> Any:
        """A run says that it may be frozen: asked or not, in time or late, of this wait or another."""
        run = self.run(number)
        return self.say(self.upstream.ready(run, max(1, run.number + ahead)), way)

    @rule(number=st.integers(0, 1), way=st.sampled_from(["queue", "sql"]))
    def wait_while_waiting(self, number: int, way: str) -> None:
        """A mistake: a second wait while one is open; it is refused, and the first is untouched."""
        run = self.run(number)
        mine = [row for row in self.before.values() if row["run_id"] == run.id and row["attempt"] == run.attempt]
        if any(row["resumed_at"] is None and row["cancelled_at"] is None for row in mine):
            count = len(self.before)
            self.say(self.upstream.wait(run, "WAIT_FOR_TASK", delay_ms=0, number=run.number + 100), way)
            assert len(waits(self.workers.conn)) == count

    @rule(
        target=said,
        number=st.integers(0, 1),
        ahead=st.sampled_from([0, 0, 0, 1, -1]),
        type_=st.sampled_from(OutcomeType),
        way=WAYS,
    )
    def complete(self, number: int, ahead: int, type_: OutcomeType, way: str) -> Any:
        """What a wait is for is over: of this one, of an earlier one again, or of the next before it comes."""
        run = self.run(number)
        id_ = run.dependency(max(1, run.number + ahead))
        return self.say(self.upstream.complete(id_, outcome_type=type_, outcome={"by": type_}), way)

    @rule(target=said, number=st.integers(0, 1), what=st.sampled_from([*ITEMS, "seal", "more"]), way=WAYS)
    def move_batch_on(self, number: int, what: str, way: str) -> Any:
        """An item of a batch is over, or the batch grows, or it is sealed."""
        fields: dict[str, Any] = {"item_id": what, "outcome_type": "success", "outcome": what}
        if what == "seal":
            fields = {"sealed": True}
        elif what == "more":
            fields = {"items_added": ["c"], "item_id": "c", "outcome_type": "failure"}
        run = self.run(number)
        return self.say(self.upstream.complete(run.dependency(max(1, run.number)), **fields), way)

    @rule(
        target=said,
        number=st.integers(0, 1),
        reason=st.sampled_from(CancelReason),
        is_all=st.booleans(),
        back=st.integers(0, 1),
        way=WAYS,
    )
    def cancel(self, number: int, reason: CancelReason, is_all: bool, back: int, way: str) -> Any:  # noqa: FBT001
        """Call off for any reason: the run, its waits up to a number, an attempt, or only a checkpoint."""
        run = self.run(number)
        up_to = None if is_all else max(1, run.number - back)
        # An attempt's end is announced, and answered, before the next begins.
        sure = "queue" if reason is CancelReason.ATTEMPT_OVER else way
        return self.say(self.upstream.cancel(run, reason, up_to), sure)

    @rule(target=said, number=st.integers(0, 1), way=WAYS)
    def try_anew(self, number: int, way: str) -> Any:
        """A new attempt comes to a wait, and nobody said that the last one is over."""
        run = self.run(number)
        if run.is_over:
            return NOTHING
        self.upstream.start_attempt(run)
        return self.say(self.upstream.wait(run, "WAIT_FOR_TASK", delay_ms=0), way)

    @rule(item=said)
    def say_again(self, item: bytes) -> None:
        """Any message comes once more, however old."""
        self.workers.drain(item)

    @precondition(lambda self: self.late)
    @rule()
    def come_late(self) -> None:
        """The oldest message that is still on its way arrives."""
        self.workers.drain(self.late.pop(0))

    @rule(target=said, tells=st.booleans())
    def hear(self, tells: bool) -> Any:  # noqa: FBT001
        """The upstream reads its queue: runs go on; what it says of that may be lost."""
        replies, self.inbox = self.inbox, []
        done = [said for reply in replies if (said := self.upstream.hear(reply)) is not None]
        return multiple(*(self.say(one, "queue") if tells else self.workers.item(one) for one in done))

    @rule(target=ours, which=st.integers(0, 9), dies_at=st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]))
    def work(self, which: int, dies_at: int) -> Any:
        """The checkpoint worker does one of its takes and restores, due or not; it may die in the middle."""
        items = self.workers.waiting_work()
        if not items:
            return NOTHING
        item = items.pop(which % len(items))
        self.workers.put_back(items)
        with dying(dies_at):
            self.workers.work(item)
        return item

    @rule(item=ours)
    def work_again(self, item: bytes) -> None:
        """A take or a restore comes once more, however old."""
        self.workers.work(item)

    @rule(target=said, dies_at=st.sampled_from([0, 0, 1, 2]))
    def resume(self, dies_at: int) -> Any:
        """The resume worker handles its hints; it may die between its commit and what it sends."""
        items: list[bytes] = []
        with dying(dies_at):
            items = self.workers.drain_hints()
        return multiple(*items[:2])

    @rule(seconds=st.sampled_from([0.0, 1.0, 6.0, 40.0]), dies_at=st.sampled_from([0, 0, 1, 2]))
    def sweep(self, seconds: float, dies_at: int) -> None:
        """Time passes, and a sweeper looks; it may die between its commit and what it sends."""
        self.workers.time_passes(seconds)
        with dying(dies_at):
            self.workers.sweep()

    @rule()
    def lose_messages(self) -> None:
        """Redis is emptied: queues, countdowns, tokens, and what the upstream had not read."""
        self.workers.lose_messages()
        self.inbox.clear()

    @rule()
    def settle(self) -> None:
        """The node's agent has a turn."""
        self.workers.agent()

    @invariant()
    def rules_hold(self) -> None:
        """Rows break no rule, take nothing back, and only what they allow was sent or stands still."""
        before, self.before = self.before, waits(self.workers.conn)
        problems = [*broken(self.workers.conn), *taken_back(before, self.before)]
        assert not problems, problems
        replies = self.workers.replies()
        self.inbox += replies
        for reply in replies:
            if isinstance(reply, Continue):
                self._was_due(reply, before.get(reply.dependency_id), self.before[reply.dependency_id])
        for number, process in enumerate(self.processes):
            mine = [row for row in self.before.values() if row["run_id"] == f"run-{number}"]
            may_stand = any(row["status"] not in {None, "refused", "revoked", "failed", "deferred"} for row in mine)
            assert may_stand or process.runs, f"run-{number} stands still, and no row says why"

    def _was_due(self, reply: Continue, before: dict[str, Any] | None, row: dict[str, Any]) -> None:
        assert reply.continuation_id == row["id"]
        assert (reply.run_id, reply.attempt, reply.wait_number) == (row["run_id"], row["attempt"], row["wait_number"])
        assert row["resumed_at"] is not None, "a continuation was sent before its wait was resumed"
        assert before is None or before["cancelled_at"] is None, "a wait that is over was continued"
        assert before is None or before["done_at"] is None, "a continuation was sent after it was done"
        assert (reply.mode is Mode.RESTORED) == (row["checkpoint_id"] is not None)
        assert reply.mode is Mode.LIVE or row["status"] == "restored"

    def teardown(self) -> None:
        """Faults stop: all that was said arrives, time passes, and every wait comes to its end."""
        if not hasattr(self, "upstream"):
            return
        while self.late:
            self.workers.drain(self.late.pop(0))
        for _ in range(QUIET_ROUNDS):
            self.workers.time_passes(HALF_HOUR)
            self.workers.agent()
            moved = self.workers.sweep()
            self.workers.drain_hints()
            for item in self.workers.waiting_work():
                self.workers.work(item)
            self.rules_hold()
            heard = bool(self.inbox)
            self.hear_all()
            if not (moved or heard):
                break
        else:
            raise AssertionError("something is looked at again and again")
        self.all_has_ended()

    def hear_all(self) -> None:
        """The upstream reads its queue and answers all of it."""
        replies, self.inbox = self.inbox, []
        for reply in replies:
            said = self.upstream.hear(reply)
            if said is not None:
                self.workers.drain(self.workers.item(said))

    def all_has_ended(self) -> None:
        """Every wait is done, cancelled, or open without its end known; each went on once, and its process runs."""
        self.before = waits(self.workers.conn)
        for id_, row in self.before.items():
            went_on = self.upstream.ledger.went_on.get(id_, 0)
            is_given_up = id_ in self.upstream.given_up
            assert went_on <= 1, f"{id_} went on {went_on} times"
            if row["done_at"] is not None:
                assert went_on == 1 or is_given_up, f"{id_} is done, and nobody went on from it"
            elif row["cancelled_at"] is not None:
                assert is_given_up, f"{id_} was ended, and its upstream had not given it up"
            else:
                assert row["completed_at"] is None, f"{id_} is over, and its run never went on"
                assert row["resume_at"] is None, f"{id_} ends at a time that has passed"
                assert went_on == 0
        for number, process in enumerate(self.processes):
            mine = [row for row in self.before.values() if row["run_id"] == f"run-{number}"]
            newest = max(mine, key=lambda row: row["wait_number"], default=None)
            is_frozen = newest is not None and newest["checkpoint_id"] is not None
            is_over = newest is not None and (newest["done_at"] or newest["cancelled_at"]) is not None
            assert process.stands == (is_frozen and not is_over), f"run-{number}: {newest}"
