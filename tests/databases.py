"""Databases of tests that more than one test may share, since each keeps to runs of its own."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import LiteralString, cast
from uuid import uuid4

import psycopg

DATABASE = "TESTS_DATABASE_URL"
TEMPLATE = "template_of_tests"


@contextmanager
def a_database(template: str | None = TEMPLATE) -> Generator[str]:
    """Make a database, migrated unless another template is named, and drop it in the end; yields its URL."""
    name = f"test_{uuid4().hex}"
    _run(f"CREATE DATABASE {name} TEMPLATE {template or 'template1'}")
    try:
        yield os.environ[DATABASE].rpartition("/")[0] + f"/{name}"
    finally:
        _run(f"DROP DATABASE {name} WITH (FORCE)")


def _run(text: str) -> None:
    # Names of databases cannot be parameters; these are made here, of hexadecimal digits.
    with psycopg.connect(os.environ[DATABASE], autocommit=True) as conn:
        conn.execute(cast("LiteralString", text))
