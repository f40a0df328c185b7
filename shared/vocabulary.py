"""The words of the domain. Postgres holds the same words; a test compares them."""

from enum import StrEnum


class WaitReason(StrEnum):
    """Why a run waits. Source: the contract, `checkpoint.defer`."""

    TASK = "WAIT_FOR_TASK"
    BATCH = "WAIT_FOR_BATCH"
    DURATION = "WAIT_FOR_DURATION"
    MANUAL = "MANUAL"
    RETRY = "RETRYING_AFTER_FAILURE"


class CancelReason(StrEnum):
    """Why an upstream calls off a wait, or only its checkpoint."""

    RUN_CANCELLED = "RUN_CANCELLED"
    RUN_CRASHED = "RUN_CRASHED"
    RUN_EXPIRED = "RUN_EXPIRED"
    RUN_COMPLETED = "RUN_COMPLETED"
    ATTEMPT_OVER = "ATTEMPT_OVER"
    WORKLOAD_DISCONNECTED = "WORKLOAD_DISCONNECTED"
    MANUAL = "MANUAL"


class OwnReason(StrEnum):
    """Why we revoke a checkpoint ourselves; no upstream may send these."""

    DEPENDENCY_RESUMED = "DEPENDENCY_RESUMED"
    SUPERSEDED = "SUPERSEDED"


class OutcomeType(StrEnum):
    """How what a run waited for ended. Every one of them resumes the waiter."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"


class CheckpointStatus(StrEnum):
    """Where a checkpoint stands. Its moves are rows of the table `checkpoint_move`."""

    TAKING = "taking"
    DEFERRED = "deferred"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    REVOKED = "revoked"
    FAILED = "failed"
    RESTORING = "restoring"
    RESTORED = "restored"
    DISCARDED = "discarded"
    LOST = "lost"


class Unreached(StrEnum):
    """Why a run cannot be reached: its node may come back, its restore may be mended, or nothing is left of the run."""

    NODE_SILENT = "node-silent"
    RESTORE_REFUSED = "restore-refused"
    RUN_GONE = "run-gone"


class EngineName(StrEnum):
    """What freezes and restores a workload."""

    SIMULATE = "simulate"
    PROCESS = "process"
    DOCKER = "docker"
    CRI = "cri"


class Mode(StrEnum):
    """How an attempt goes on: in the process that waited, or in one that was restored."""

    LIVE = "live"
    RESTORED = "restored"
