"""The error tree: a message for people, a code and facts for machines.

A message says what was wrong, what was expected and what to do. Source: the contract's table of codes.
"""


class DeferredCheckpointError(Exception):
    """Anything this project raises on purpose.

    Args:
        message: For people: what was wrong, what was expected, what to do.
        **facts: For machines: they go to logs and into JSON.
    """

    code: str = "error"

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the pickling of a Celery pool: the facts travel as the instance's state."""
        return (type(self), (self.message,), self.__dict__)


class BadRequest(DeferredCheckpointError):
    """The caller's mistake: nothing was changed, and the same request would be refused again.

    `code` on an instance is the contract's code (`invalid-message`, `wait-conflict` and so on).
    """

    code = "invalid-message"


class Refused(BadRequest):
    """Postgres refused a request by a rule of the contract; the code says by which."""

    def __init__(self, message: str, *, code: str = "invalid-message", **facts: object) -> None:
        super().__init__(message, **facts)
        self.code = code


class EngineError(DeferredCheckpointError):
    """An engine could not do what it was asked for; the run stays alive."""

    code = "engine-error"


class EngineUnavailable(EngineError):
    """A failure that another try may mend: retried with back-off."""

    code = "engine-unavailable"


class EngineUnsupported(EngineError):
    """No retry can mend it: this node or engine cannot freeze this workload."""

    code = "engine-unsupported"


class ImageRefused(EngineUnsupported):
    """An image is not what was accepted, or above a limit: it is never restored."""

    code = "image-refused"


class RunGone(EngineError):
    """The workload does not exist, is not marked as one, or its pid belongs to another process now."""

    code = "run-gone"


class EngineRevoked(EngineError):
    """The engine's command was ended because the checkpoint was revoked meanwhile."""

    code = "engine-revoked"


class SchemaMismatch(DeferredCheckpointError):
    """The database's schema and this release do not fit: the process refuses to start."""

    code = "schema-mismatch"


class Misconfigured(DeferredCheckpointError):
    """A setting is unknown, malformed or contradicts another: the process refuses to start."""

    code = "misconfigured"


class Unreachable(DeferredCheckpointError):
    """A server that the settings name does not answer, or does not let us in."""

    code = "unreachable"
