"""The processes of the Procfile."""

from enum import StrEnum


class WorkerKind(StrEnum):
    """The processes that make up the system."""

    CHECKPOINT = "checkpoint"
    RESUME = "resume"
    SWEEPER = "sweeper"
    FLOWER = "flower"
