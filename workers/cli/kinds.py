"""What one chooses from on the command line: a process of the Procfile, the engine of a demo."""

from enum import StrEnum


class WorkerKind(StrEnum):
    """The processes that make up the system."""

    CHECKPOINT = "checkpoint"
    RESUME = "resume"
    SWEEPER = "sweeper"
    FLOWER = "flower"


class DemoEngine(StrEnum):
    """The engine that freezes the runs of a demo; `auto`: `process` where it works, else `simulate`."""

    AUTO = "auto"
    PROCESS = "process"
    SIMULATE = "simulate"
