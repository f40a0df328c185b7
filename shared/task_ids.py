"""Task ids that never change for the same work, so that a repeat overwrites instead of doubling.

Source: the contract, section 4.
"""

from typing import Final
from uuid import UUID, uuid5

from msgspec import json

NAMESPACE: Final = UUID("5f2c1a0e-6d43-4b57-9c1e-8a7d3e0b94f6")


def take_id(run_id: str, wait_number: int) -> str:
    """Return the id of a wait's `checkpoint.take`, the same however often it is sent."""
    return _stable_id([run_id, wait_number])


def restore_id(run_id: str, wait_number: int, epoch: int) -> str:
    """Return the id of one try of a wait's `checkpoint.restore`."""
    return _stable_id([run_id, wait_number, epoch])


def _stable_id(parts: list[str | int]) -> str:
    # msgspec writes compact JSON and leaves characters beyond ASCII as they are.
    return str(uuid5(NAMESPACE, json.encode(parts).decode()))
