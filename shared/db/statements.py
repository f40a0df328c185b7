"""SQL in plain sight: one statement, one file, one function that runs it."""

from functools import cache
from importlib.resources import files
from typing import Any, LiteralString, cast


@cache
def statement(name: LiteralString) -> LiteralString:
    """Return the text of `sql/<name>.sql`, which this package ships.

    Raises:
        FileNotFoundError: There is no such statement.
    """
    text = files("shared").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    # The only cast: the text is a file of the package, never made from input.
    return cast("LiteralString", text)


def only(row: tuple[Any, ...] | None) -> Any:
    """Return the column of a row that its statement always gives.

    Raises:
        LookupError: There is no row: a bug in the statement.
    """
    if row is None:
        raise LookupError("the statement gave no row; expected one")
    return row[0]
