"""Which errors of Postgres lie in the moment: nothing is wrong with the data, the same will work later."""

import psycopg

# Connection, transaction rollback, resources, operator intervention, lock or object state, system error.
_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})
# Of class 25: a failover, after which the old primary is a replica; a transaction that idled or lasted too long,
# because its worker stood still.
_STATES = frozenset({"25006", "25P03", "25P04"})


def is_rolled_back(error: BaseException) -> bool:
    """Return whether Postgres ended the transaction for another's sake (a deadlock): nothing was written."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("40")


def is_of_the_schema(error: BaseException) -> bool:
    """Return whether a table or function is not as this release knows it: no message's fault, and no moment's."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("42")


def is_of_the_moment(error: BaseException) -> bool:
    """Return whether the same statement may succeed later. Source: the design, section 2 (drains)."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in _CLASSES or error.sqlstate in _STATES
