"""Batches of tests: the wait for one, and what is said of it, as JSON objects."""

from collections.abc import Sequence
from typing import Any

from bad_defers import batch


def a_batch(*items: str, sealed: bool | None = None, **fields: Any) -> dict[str, Any]:
    """Return a wait for these items, of a run of its own; `fields` are those of the wait."""
    wait = batch(items=list(items)) | fields
    if sealed is not None:
        wait["dependency"]["sealed"] = sealed
    return wait


def ended(wait: dict[str, Any], item_id: str | None, outcome_type: str = "success", **fields: Any) -> dict[str, Any]:
    """Say that an item has ended; no item: that the whole has."""
    return {"v": 1, "dependency_id": name_of(wait), "item_id": item_id, "outcome_type": outcome_type} | fields


def grown(wait: dict[str, Any], items: Sequence[str], **fields: Any) -> dict[str, Any]:
    """Say that a batch has more items."""
    return {"v": 1, "dependency_id": name_of(wait), "items_added": list(items)} | fields


def sealed(wait: dict[str, Any]) -> dict[str, Any]:
    """Say that a batch will have no more items."""
    return {"v": 1, "dependency_id": name_of(wait), "sealed": True}


def name_of(wait: dict[str, Any]) -> str:
    """Return the id of what is waited for."""
    return wait["dependency"]["id"]


def answer(*, first: bool, open_items: int | None, waiter_known: bool = True) -> dict[str, Any]:
    """Return the answer to a completion."""
    return {"first": first, "open_items": open_items, "waiter_known": waiter_known}
