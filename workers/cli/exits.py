"""The exit codes of `checkpoints`, and which error is which."""

from shared.errors import BadRequest, DeferredCheckpointError, Misconfigured

DONE, FAILED, USED_WRONGLY, NOT_FOUND, UNREACHABLE = range(5)


def exit_code(error: DeferredCheckpointError) -> int:
    """Return the exit code of a command that ended by an error."""
    if isinstance(error, BadRequest | Misconfigured):
        return USED_WRONGLY
    return {"unreachable": UNREACHABLE, "not-found": NOT_FOUND}.get(error.code, FAILED)
