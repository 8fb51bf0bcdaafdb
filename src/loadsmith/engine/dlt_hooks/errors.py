"""Classify the errors of dlt."""

from dlt.common.exceptions import TerminalException
from dlt.common.schema.exceptions import DataValidationError
from dlt.load.exceptions import LoadClientJobException

from loadsmith.errors import causes_of

#: What databases say when two sessions make the same schema, table or column at once.
_RACE_SIGNS = (
    "already exists",
    "file exists",
    "duplicate key value violates unique constraint",
    "duplicate column",
    "tuple concurrently updated",
    "deadlock detected",
    "could not serialize access",
    "catalog write-write conflict",
    "transactioncontext error: catalog",
)


def is_terminal(error: BaseException) -> bool:
    """Tell whether dlt says that trying again cannot help."""
    for cause in causes_of(error):
        if isinstance(cause, (DataValidationError, LoadClientJobException)):
            return isinstance(cause, (DataValidationError, TerminalException))
    return False


def is_schema_race(error: BaseException) -> bool:
    """Tell whether two loads changed the destination's schema at the same moment."""
    return any(sign in str(error).lower() for sign in _RACE_SIGNS)
