"""The rules of the house that no tool checks: sizes, names, SQL in plain sight."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = sorted([*ROOT.glob("shared/**/*.py"), *ROOT.glob("workers/**/*.py")])
ALL = [*OURS, *sorted(ROOT.glob("tests/**/*.py")), *sorted(ROOT.glob("bench/**/*.py"))]
STATEMENTS = sorted(path for path in ROOT.glob("shared/sql/*/*.sql") if path.parent.name != "migrations")
EMPTY_WORDS = {"utils", "util", "common", "helpers", "helper", "base", "manager", "core", "misc"}
LINES_OURS, LINES, LINES_SQL = 300, 400, 45
# The first makes our database, of a constant, while no server runs; the second shows a query and runs none.
SQL_ELSEWHERE = {"workers/cli/postgres_server.py", "workers/cli/demo/summary.py"}


def lines(path: Path) -> int:
    """Return how long a file is."""
    return len(path.read_text(encoding="utf-8").splitlines())


def name_of(path: Path) -> str:
    """Return a file's name in this repository."""
    return str(path.relative_to(ROOT))


def too_long(paths: list[Path], limit: int) -> dict[str, int]:
    """Return the files that are longer than a limit."""
    return {name_of(path): lines(path) for path in paths if lines(path) > limit}


def test_a_module_can_be_read_at_once() -> None:
    """No module is longer than 400 lines, and none that runs in production longer than 300."""
    assert OURS
    assert too_long(OURS, LINES_OURS) == {}
    assert too_long(ALL, LINES) == {}


def test_a_statement_fits_on_a_page() -> None:
    """What is longer is more than one idea; rules over several rows are functions, in the migrations."""
    assert STATEMENTS
    assert too_long(STATEMENTS, LINES_SQL) == {}


def test_a_modules_name_says_what_is_in_it() -> None:
    """A name that fits everything is a sign that the idea isn't one yet."""
    named = [name_of(path) for path in ALL if EMPTY_WORDS & {path.stem, *path.parent.relative_to(ROOT).parts}]

    assert named == []


def test_every_statement_is_run_by_somebody() -> None:
    """A file that no function names is dead."""
    code = "".join(path.read_text(encoding="utf-8") for path in OURS)
    names = [f"{path.parent.name}/{path.stem}" for path in STATEMENTS]

    assert [name for name in names if f'"{name}"' not in code] == []


SQL_BEGINS = re.compile(r"^\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|CREATE|ALTER|DROP|LISTEN|NOTIFY)\s")


def sql_in_python(tree: ast.AST) -> Iterator[int]:
    """Yield the lines where a string of a module begins like a statement."""
    for node in ast.walk(tree):
        first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and SQL_BEGINS.match(first.value):
            yield first.lineno


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('c.execute(f"SELECT {x}")', [1]),
        ('c.execute("DELETE FROM a" + b)', [1]),
        ('log.info("select one")', []),
        ('"""Update a row."""', []),
    ],
)
def test_sql_in_python_would_be_found(code: str, found: list[int]) -> None:
    """The look itself: a statement in a string is one however it is put together."""
    assert list(dict.fromkeys(sql_in_python(ast.parse(code)))) == found


def test_sql_stands_in_files_of_its_own() -> None:
    """No statement is put together in Python: neither by an f-string, nor by `+` or `format`."""
    found = {name_of(path): list(sql_in_python(ast.parse(path.read_text(encoding="utf-8")))) for path in OURS}

    assert {name for name, where in found.items() if where} == SQL_ELSEWHERE
