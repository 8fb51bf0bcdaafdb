"""Classify the errors of dlt."""

from concurrent.futures import BrokenExecutor
from typing import Any

from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.exceptions import TerminalException
from dlt.common.schema.exceptions import DataValidationError
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.load.exceptions import LoadClientJobException
from dlt.pipeline.exceptions import PipelineStepFailed

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


#: What Python's databases call values and statements that no second try makes right (PEP 249).
_OF_DATA = frozenset({"DataError", "IntegrityError", "NotSupportedError"})

#: Classes of SQLSTATE: data, constraints, syntax and types, limits of the program.
_FINAL_STATES = ("22", "23", "42", "54")

#: SQLSTATEs among them that somebody can mend in the destination: rights, what is not there.
_MENDED_STATES = ("42501", "42P01", "42S02", "42704", "42883")

#: What MySQL calls tables with too many or too large columns.
_MYSQL_LIMITS = (1117, 1118)

#: What ends normalize without a fault in the data: the disk, the memory, the installation.
_OF_MACHINE = (OSError, MemoryError, ImportError, BrokenExecutor, ConfigurationException)


def is_terminal(error: BaseException) -> bool:
    """Tell whether a package that fails with an error can never be normalized or loaded.

    Neither time nor another try helps then, because the rows do not fit the table, or the table
    not the destination.
    """
    causes = list(causes_of(error))
    if any(isinstance(cause, DataValidationError) for cause in causes):
        return True
    if any(isinstance(cause, DatabaseUndefinedRelation) for cause in causes):
        return False
    step = next((one.step for one in causes if isinstance(one, PipelineStepFailed)), None)
    if step == "normalize":
        return not any(isinstance(cause, _OF_MACHINE) for cause in causes)
    is_of_job = any(isinstance(cause, LoadClientJobException) for cause in causes)
    return any(
        (isinstance(cause, LoadClientJobException) and isinstance(cause, TerminalException))
        or _is_of_data(cause, is_of_job)
        for cause in causes
    )


def _is_of_data(cause: Any, is_of_job: bool) -> bool:
    names = {kind.__name__ for kind in type(cause).__mro__}
    state = str(getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None) or "")
    if "IntegrityError" in names and not is_of_job and state in ("", "23505"):
        # Two sessions that make the same table or column at once.
        return False
    if state:
        return state.startswith(_FINAL_STATES) and state not in _MENDED_STATES
    if any(kind.__module__.partition(".")[0] == "pyarrow" for kind in type(cause).__mro__):
        return is_of_job and not isinstance(cause, (OSError, MemoryError))
    code = cause.args[0] if cause.args else None
    return bool(
        names & _OF_DATA or code in _MYSQL_LIMITS or "too many columns" in str(cause).lower()
    )


def is_schema_race(error: BaseException) -> bool:
    """Tell whether two loads changed the destination's schema at the same moment."""
    return any(sign in str(error).lower() for sign in _RACE_SIGNS)
