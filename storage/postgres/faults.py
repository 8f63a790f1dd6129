"""What psycopg throws, translated once into `storage.errors`.

Messages name a SQLSTATE and a constraint, never a statement, a value or the server's own text:
that text repeats rows, and rows are candidates' answers. For the same reason the original is not
chained.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from storage.cancelling import cancellable
from storage.errors import BackendDownError, BadDataError, StorageError, UnmigratedError

MIGRATE = "run `viva migrate`"


class DivergedError(BadDataError):
    """PostgreSQL holds a state of the interview that the one to be written does not descend from.

    The live store lost writes that were stored already. What is stored is the truth.
    """


class PartitionMissingError(BadDataError):
    """No partition is made yet for the month of the interview."""


@contextmanager
def translated() -> Generator[None]:
    """Turn errors of psycopg, and of values that no text can carry, into those of storage.

    A cancellation that arrives meanwhile is raised in any case, though a transaction may be done.
    """
    with cancellable():
        try:
            yield
        except psycopg.Error as error:
            raise translate(error) from None
        except TimeoutError:
            raise BackendDownError("PostgreSQL did not answer in time") from None
        except OSError:
            raise BackendDownError("PostgreSQL cannot be reached") from None
        except (UnicodeError, OverflowError):
            raise BadDataError("a value cannot be written to PostgreSQL") from None


def translate(error: psycopg.Error) -> StorageError:
    """Return what ``error`` means to a caller of this package."""
    if isinstance(error, errors.CheckViolation) and error.diag.constraint_name is None:
        return PartitionMissingError("PostgreSQL has no partition for the interview's month")
    if isinstance(error, _OLDER):
        return UnmigratedError(f"PostgreSQL's schema is too old ({error.sqlstate}): {MIGRATE}")
    if isinstance(error, errors.InsufficientPrivilege):
        return BackendDownError(f"PostgreSQL is not ready for this version ({error.sqlstate})")
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError | psycopg.ProgrammingError):
        constraint = error.diag.constraint_name
        why = f"{error.sqlstate}, {constraint}" if constraint else f"{error.sqlstate}"
        return BadDataError(f"PostgreSQL refused the data ({why})")
    for refusal, meaning in _REFUSALS:
        if refusal.search(str(error)):
            return BackendDownError(meaning)
    return BackendDownError(
        f"PostgreSQL does not answer ({error.sqlstate or type(error).__name__})"
    )


_REFUSALS = (
    (
        re.compile(
            r"authentication failed|no password supplied|no pg_hba.conf entry|role .* does not"
        ),
        "PostgreSQL does not let this user in: user or password is wrong, or its pg_hba.conf",
    ),
    (re.compile(r"database .* does not exist"), "PostgreSQL has no database of this name"),
)
"""What a server that answers says against a connection. libpq keeps its SQLSTATE to itself, so its
words have to do; in another language they are missed, and it counts as one that does not answer."""


def outlives(error: BaseException) -> bool:
    """Tell whether the connection may serve again after ``error``.

    A server that became a standby refuses writes for good, and a plan that a migration outdated
    fails on its connection again and again; a new connection knows better.
    """
    return not isinstance(error, errors.ReadOnlySqlTransaction | errors.FeatureNotSupported)


# Programming errors by class, but they tell of the schema, not of this data: worth trying again
# once `viva migrate` ran.
_OLDER = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.InvalidSchemaName,
)
