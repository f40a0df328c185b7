"""The messages on the queues, version 1; their JSON Schema is made from these types.

The types say all that can be said of one message alone. What depends on rows is judged in SQL; the SQL door checks
shapes too (migration 0006), and a test holds both doors to one table of bad inputs. Source: the contract, section 1.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from shared.errors import BadRequest
from shared.vocabulary import CancelReason, EngineName, Mode, OutcomeType, Unreached, WaitReason

BYTES_MAX = 1_048_576
DEPTH_MAX = 16
OUTCOME_BYTES_MAX = 65_536
INTEGER_MAX = 2**31 - 1

# The end of the text in Python and in JSON Schema alike: Python's $ also stands before a last line break.
_END = r"$(?![\s\S])"
# No control characters, and not only white space. 200 characters are at most 800 bytes of UTF-8.
_ID = rf"^(?=[^\u0000-\u001f\u007f-\u009f]*{_END})(?=[\s\S]*\S)"
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200, pattern=_ID)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
ReplyTo: TypeAlias = Annotated[str, Meta(pattern=rf"^continuations(\.[a-z0-9_-]{{1,64}})?{_END}")]
Traceparent: TypeAlias = Annotated[
    str,
    Meta(pattern=rf"^(?!ff)[0-9a-f]{{2}}-(?!0{{32}})[0-9a-f]{{32}}-(?!0{{16}})[0-9a-f]{{16}}-[0-9a-f]{{2}}{_END}"),
]
NodeName: TypeAlias = Annotated[str, Meta(pattern=rf"^[a-z0-9][a-z0-9-]{{0,62}}{_END}")]
Items: TypeAlias = Annotated[list[Id], Meta(max_length=10_000)]
Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]
Version: TypeAlias = Literal[1]


class Message(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every message has."""

    v: Version


class Workload(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where an attempt runs: a process tree, or a container, on a node."""

    engine: EngineName
    node: NodeName
    pid: Count | None = None
    started_at_ticks: Annotated[int, Meta(ge=0, lt=10**18)] | None = None
    container: Annotated[str, Meta(pattern=rf"^[a-zA-Z0-9][a-zA-Z0-9_.-]{{0,127}}{_END}")] | None = None

    def __post_init__(self) -> None:
        """Hold the two ways of naming a workload apart."""
        if (self.pid is None) == (self.container is None):
            raise ValueError("expected either pid with started_at_ticks, or container")
        if (self.pid is None) != (self.started_at_ticks is None):
            raise ValueError("expected started_at_ticks beside pid, and beside pid alone")

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read the contract's JSON object.

        Raises:
            BadRequest: A field is missing, unknown or out of its range.
        """
        try:
            return msgspec.convert(value, cls)
        except msgspec.ValidationError as error:
            raise BadRequest(f"the workload is malformed: {error}", workload=value) from error

    def to_json(self) -> dict[str, Any]:
        """Return the contract's JSON object, without what is not there."""
        return msgspec.to_builtins(self)


class Dependency(Struct, frozen=True, forbid_unknown_fields=True):
    """What an attempt waits for."""

    id: Id
    items: Items | None = None
    sealed: bool | None = None
    resume_at: Moment | None = None


class Defer(Message, frozen=True, kw_only=True):
    """`checkpoint.defer`: a run began to wait."""

    run_id: Id
    attempt: Count
    wait_number: Count
    reason: WaitReason
    dependency: Dependency
    workload: Workload
    delay_ms: Annotated[int, Meta(ge=0, le=172_800_000)] | None = None
    key: Id | None = None
    handshake: bool | None = None
    reply_to: ReplyTo | None = None
    receipt_to: ReplyTo | None = None
    traceparent: Traceparent | None = None


class CancelCause(Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is called off."""

    type: CancelReason
    detail: Annotated[str, Meta(max_length=1000)] | None = None


class Cancel(Message, frozen=True, kw_only=True):
    """`checkpoint.cancel`: call off what is deferred or being taken for a run, or its waits."""

    run_id: Id
    reason: CancelCause
    attempt: Count | None = None
    wait_number: Count | None = None
    receipt_to: ReplyTo | None = None


class Ready(Message, frozen=True, kw_only=True):
    """`checkpoint.ready`: the run has flushed and may be frozen; the answer to `run.prepare`."""

    run_id: Id
    wait_number: Count
    receipt_to: ReplyTo | None = None


class Complete(Message, frozen=True, kw_only=True):
    """`dependency.complete`: what a run waited for is over, or its batch grows or is sealed."""

    dependency_id: Id
    outcome_type: OutcomeType | None = None
    item_id: Id | None = None
    outcome: Any = None
    items_added: Items | None = None
    sealed: bool | None = None
    receipt_to: ReplyTo | None = None


class Resume(Message, frozen=True, kw_only=True):
    """`dependency.resume`: a hint that a row may be complete; it carries an id and nothing else."""

    dependency_id: Id


class Done(Message, frozen=True, kw_only=True):
    """`continuation.done`: the run has its continuation."""

    continuation_id: Id
    receipt_to: ReplyTo | None = None


class Take(Message, frozen=True, kw_only=True):
    """`checkpoint.take`: the delay is over; take the checkpoint unless it was revoked.

    `first` is true only in the message of the countdown itself: a token may end it before Postgres is asked.
    """

    dependency_id: Id
    run_id: Id
    wait_number: Count
    first: bool = False
    traceparent: Traceparent | None = None


class Restore(Message, frozen=True, kw_only=True):
    """`checkpoint.restore`: bring a frozen run back on this node."""

    dependency_id: Id
    run_id: Id
    wait_number: Count
    traceparent: Traceparent | None = None


class Outcome(Struct, frozen=True):
    """How what was waited for ended, and with what."""

    type: str
    value: Any


class StoredCheckpoint(Struct, frozen=True):
    """Which image a restored run came from."""

    id: int
    location: str
    digest: str | None
    bytes: int | None


class Continue(Message, frozen=True, kw_only=True):
    """`run.continue`: go on, live or restored. `outcomes` is null where it is left out for its size."""

    continuation_id: str
    run_id: str
    attempt: int
    wait_number: int
    dependency_id: str
    reason: str
    mode: Mode
    workload: Any
    outcomes: dict[str, Outcome] | None
    outcomes_left_out: bool | UnsetType = UNSET
    resumed_at: datetime
    checkpoint: StoredCheckpoint | None = None
    traceparent: str | None = None


class Prepare(Message, frozen=True, kw_only=True):
    """`run.prepare`: flush, then say `checkpoint.ready`; later than `answer_by` there is no checkpoint."""

    run_id: str
    attempt: int
    wait_number: int
    dependency_id: str
    answer_by: datetime


class Unreachable(Message, frozen=True, kw_only=True):
    """`run.unreachable`: a run that waits cannot go on yet (`final` is false: it still may), or is gone."""

    run_id: str
    attempt: int
    wait_number: int
    dependency_id: str
    continuation_id: str
    code: Unreached
    final: bool
    problem: str
    workload: Any
    since: datetime | None
    traceparent: str | None = None


class Refused(Message, frozen=True, kw_only=True):
    """`run.refused`: a message of yours was refused: which, why, what to do."""

    message: str | None
    id: str | None
    run_id: str | None
    dependency_id: str | None
    code: str
    problem: str
    facts: dict[str, Any]


class Taken(Message, frozen=True, kw_only=True):
    """`message.taken`: the message with this Celery id is in Postgres."""

    message: str
    id: str
