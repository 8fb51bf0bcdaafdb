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

#: Classes among those of a job alone: a trigger, a view or a function of the user refuses the row.
_FINAL_STATES_OF_JOB = ("27", "44", "P0")

#: What MySQL calls tables with too many or too large columns.
_MYSQL_LIMITS = (1117, 1118)

#: What MySQL and MariaDB call a row that a trigger or a condition refuses.
_MYSQL_REFUSALS = (1644, 3819, 4025)

#: Errors of MySQL that somebody can mend, though their SQLSTATE is that of syntax: rights, a
#: missing database, too many connections or statements of a user.
_MYSQL_MENDED = (1044, 1049, 1142, 1143, 1203, 1226, 1227, 1370)

#: What a driver raises for a value that it cannot write, such as a number that is too large.
_OF_VALUE = (ArithmeticError, UnicodeEncodeError)

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
    code = cause.args[0] if cause.args else None
    if is_of_job and (isinstance(cause, _OF_VALUE) or code in _MYSQL_REFUSALS):
        return True
    if code in _MYSQL_MENDED:
        return False
    if "IntegrityError" in names and not is_of_job and state in ("", "23505"):
        # Two sessions that make the same table or column at once.
        return False
    if state:
        final = (*_FINAL_STATES, *(_FINAL_STATES_OF_JOB if is_of_job else ()))
        return state.startswith(final) and state not in _MENDED_STATES
    if any(kind.__module__.partition(".")[0] == "pyarrow" for kind in type(cause).__mro__):
        return is_of_job and not isinstance(cause, (OSError, MemoryError))
    return bool(
        names & _OF_DATA or code in _MYSQL_LIMITS or "too many columns" in str(cause).lower()
    )


def is_schema_race(error: BaseException) -> bool:
    """Tell whether two loads changed the destination's schema at the same moment."""
    return any(sign in str(error).lower() for sign in _RACE_SIGNS)
