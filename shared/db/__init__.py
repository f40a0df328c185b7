"""Rows and the statements over them; `psycopg` is used here, elsewhere only the `Connection` type."""
