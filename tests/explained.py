"""What Postgres really did for the statements of a block, also inside functions: their plans, and pages they read."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.errors import Diagnostic

SETTINGS = {
    "log_min_duration": "0",
    "log_nested_statements": "on",
    "log_analyze": "on",
    "log_buffers": "on",
    "log_timing": "off",
    "log_format": "json",
    "log_level": "notice",
    "log_parameter_max_length": "0",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """One statement as it was carried out."""

    query: str
    root: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Yield every node of the plan."""
        pending = [self.root]
        while pending:
            node = pending.pop()
            yield node
            pending += node.get("Plans", [])

    @property
    def pages(self) -> int:
        """How many pages were looked at, in memory or not, those of its nested statements included."""
        return self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"]

    def walks(self, *tables: str) -> list[str]:
        """Return the tables among these that were read from end to end."""
        nodes = (node for node in self.nodes() if node["Node Type"] == "Seq Scan")
        return [node["Relation Name"] for node in nodes if node["Relation Name"] in tables]

    def walked_indexes(self) -> set[str]:
        """Return the names of the indexes that were read from end to end, not for certain keys."""
        return {node["Index Name"] for node in self.nodes() if "Index Name" in node and "Index Cond" not in node}

    def __str__(self) -> str:
        return f"{self.query}\n{json.dumps(self.root, indent=1)}"


@contextmanager
def explained(conn: Connection[Any]) -> Generator[list[Plan]]:
    """Collect the plan of every statement of the block; the outermost come last."""
    plans: list[Plan] = []

    def hear(notice: Diagnostic) -> None:
        _, found, text = (notice.message_primary or "").partition("plan:\n")
        if found:
            said = json.loads(text)
            plans.append(Plan(said["Query Text"], said["Plan"]))

    conn.execute("LOAD 'auto_explain'")
    conn.add_notice_handler(hear)
    for name, value in SETTINGS.items():
        conn.execute("SELECT set_config(%s, %s, false)", [f"auto_explain.{name}", value])
    plans.clear()
    try:
        yield plans
    finally:
        conn.execute("SELECT set_config('auto_explain.log_min_duration', '-1', false)")
        conn.remove_notice_handler(hear)
