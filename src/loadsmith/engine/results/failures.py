"""Turn an error of dlt into one that says where it happened and what to do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dlt.common.schema.exceptions import DataValidationError
from dlt.extract.exceptions import DltResourceException, PipeException
from dlt.load.exceptions import LoadClientJobException
from dlt.normalize.exceptions import NormalizeJobFailed
from dlt.pipeline.exceptions import PipelineStepFailed

from loadsmith.engine.dlt_hooks import is_terminal
from loadsmith.engine.packages import install_command
from loadsmith.engine.results.causes import (
    address_of,
    has_no_access,
    is_of_source,
    told_causes,
)
from loadsmith.engine.results.dropped import is_of_missing
from loadsmith.engine.secrets import Redactor, missing_secret
from loadsmith.errors import (
    ContractBreach,
    ContractViolation,
    LoadsmithError,
    RunError,
    Verdict,
    causes_of,
)
from loadsmith.model import ResourceFailure

_STAGES = {"run": "load", "sync": "sync", "extract": "extract", "normalize": "normalize"}

_KEPT = {
    "extract": "Nothing of this extract was loaded.",
    "normalize": "What was extracted is kept and used by the next run.",
    "load": "What was extracted is kept and loaded by the next run; no row is loaded twice.",
}

#: What is said of an extract that goes on without a resource.
_KEPT_OTHERS = "Nothing of it was loaded; the others are."

#: What is said instead where no second try can help.
_GIVEN_UP = (
    "No second try of what was extracted can help: the next run gives it up and extracts again from"
    " where it began."
)

#: Names of tables and columns that are shown.
_NAMES_SHOWN = 5

#: Characters that are shown of a value that broke a contract.
_VALUE_LENGTH = 200


def run_error(
    error: BaseException,
    *,
    load: str,
    working_dir: str | None,
    selected: Sequence[str],
    redactor: Redactor,
    stage: str | None = None,
    pages: Mapping[str, tuple[int, int]] | None = None,
    imported_from: str | None = None,
    destination: Callable[[], str] = lambda: "the destination",
    source: Any = None,
    dropped: Callable[[], Sequence[str]] = lambda: (),
    keeps_others: bool = False,
) -> LoadsmithError:
    """Return the error that a reader can act on; one of ours is returned as it is.

    Args:
        error: What dlt or a source raised.
        load: Name of the load.
        working_dir: Shown, because it keeps what was extracted.
        selected: The resources of the load.
        redactor: Removes the secrets.
        stage: The stage that failed, if that is known.
        pages: Pages and rows by table that were extracted before the error.
        imported_from: Folder of the schemas that dlt imports, if it does.
        destination: Names the destination, and the secret that it is reached with.
        source: The recipe of the source.
        dropped: Tells what dlt has made in the destination and is not there any more.
        keeps_others: Whether what the other resources of the extract gave is loaded.
    """
    if not isinstance(error, LoadsmithError) and (missing := missing_secret(error)) is not None:
        return missing
    chain = list(causes_of(error))
    for cause in chain:
        if isinstance(cause, LoadsmithError):
            return cause
    step = stage or next(
        (_STAGES.get(c.step, c.step) for c in chain if isinstance(c, PipelineStepFailed)),
        "extract",
    )
    resources = tuple(_resources(chain, selected))
    table = next(
        (str(name) for c in chain if (name := getattr(c, "table_name", None)) is not None),
        _table_of_job(chain),
    )
    violation = next((c for c in chain if isinstance(c, DataValidationError)), None)
    place = f"load '{load}', {step}"
    if resources:
        place += f", resource {_names(resources)}"
    if step == "extract" and len(resources) == 1 and pages is not None:
        place += f", {_progress(resources[0], pages)}"
    if table:
        place += f", table '{table}'"
    if violation is not None:
        return _contract_violation(
            violation, place, step, load, resources, redactor, _table_of_job(chain)
        )
    judge = next((c for c in chain if _is_verdict(c)), None)
    causes = [judge] if judge is not None else told_causes(error)
    # Secrets go first: what shortens a text may leave a part of one.
    summary = ", because of ".join(
        _summary(type(cause).__name__, redactor.redact(str(cause))) for cause in causes
    )
    advice = _advice(error, causes[-1], step, destination, source)
    kept = _KEPT_OTHERS if keeps_others else _KEPT.get(step)
    if step == "load" and is_of_missing(error) and (gone := dropped()):
        advice = _advice_on_dropped(gone)
    elif step in ("normalize", "load") and is_terminal(error):
        kept, advice = _GIVEN_UP, "Fix the rows or the table and run again."
    message = " ".join(filter(None, [f"{place}: {summary}.", kept, advice]))
    if imported_from and step != "sync":
        message += f" Its schema is imported from {imported_from}: if it was edited, look there."
    if working_dir:
        message += f" Working directory: {working_dir}"
    return RunError(
        redactor.redact(message),
        stage=step,
        load=load,
        resources=resources,
        table=table,
        verdict=_verdict(judge, redactor) if judge else None,
    )


def _is_verdict(error: BaseException) -> bool:
    """Tell whether an error is Dagster's `Failure` or `RetryRequested`, which rooms here ignore."""
    return hasattr(error, "allow_retries") or hasattr(error, "seconds_to_wait")


def _verdict(error: Any, redactor: Redactor) -> Verdict:
    metadata: dict[str, Any] = {}
    for name, value in (getattr(error, "metadata", None) or {}).items():
        plain = getattr(value, "value", value)
        clean = redactor.redact_value(plain)
        metadata[name] = value if clean == plain else clean
    return Verdict(
        allow_retries=getattr(error, "allow_retries", True),
        metadata=metadata,
        max_retries=getattr(error, "max_retries", None),
        seconds_to_wait=getattr(error, "seconds_to_wait", None),
    )


def _progress(resource: str, pages: Mapping[str, tuple[int, int]]) -> str:
    """Say how many pages of a resource were extracted.

    They are counted for the table of that name, or for the only table that got rows.
    """
    count, rows = pages.get(resource) or (next(iter(pages.values())) if len(pages) == 1 else (0, 0))
    if not count:
        return "before its first page was written"
    return f"after {count} page{'s' if count > 1 else ''} ({rows:,} rows)"


def _summary(kind: str, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no message"]
    return f"{kind}: {' '.join(lines[:6])}".rstrip(".")


def _advice(
    error: BaseException,
    cause: BaseException,
    step: str,
    destination: Callable[[], str],
    source: Any,
) -> str:
    """Return what a person can do about a failure."""
    if step in ("sync", "load"):
        if step == "sync" or has_no_access(error):
            return f"Check {destination()}, and run again."
        return f"Check {destination().partition(',')[0]} and run again."
    module, search_path = getattr(source, "module", None), getattr(source, "search_path", None)
    if command := install_command(cause, module, search_path):
        return f"{command} and run again."
    if step == "extract" and has_no_access(error):
        address = address_of(error)
        known = f" at {address}" if address else ""
        return f"Check that the system of the source{known} can be reached, and run again."
    if step == "extract" and is_of_source(error):
        return "Fix the source and run again."
    return "Fix the cause and run again."


def _advice_on_dropped(gone: Sequence[str]) -> str:
    """Return what a person can do who has dropped tables that dlt knows."""
    told = ", ".join(gone[:_NAMES_SHOWN]) + (" and more" if len(gone) > _NAMES_SHOWN else "")
    are = "is" if len(gone) == 1 else "are"
    if any("'_dlt_" in name for name in gone):
        remedy = (
            "It says which packages are loaded. Restore it from a backup; or drop the dataset, and"
            " run the load anew"
        )
    else:
        remedy = (
            "Put it back; or run the load with `refresh: drop_resources`, which drops what is left"
            " of its tables and extracts all rows again"
        )
    return (
        f"{told[0].upper()}{told[1:]} {are} not in the destination any more, as if dropped or"
        f" renamed. {remedy}."
    )


def _names(resources: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in resources)


def _resources(chain: Sequence[BaseException], selected: Sequence[str]) -> Iterator[str]:
    for cause in chain:
        name = None
        if isinstance(cause, PipeException):
            name = cause.pipe_name
        elif isinstance(cause, DltResourceException):
            name = cause.resource_name
        if name:
            yield str(name)
            return
    if len(selected) == 1:
        yield selected[0]


def _table_of_job(chain: Sequence[BaseException]) -> str | None:
    """Return the table of the file that could not be normalized or loaded."""
    for cause in chain:
        if isinstance(cause, (NormalizeJobFailed, LoadClientJobException)) and cause.job_id:
            # The id of a job is its file name without the number of retries.
            return str(cause.job_id).partition(".")[0]
    return None


def _contract_violation(
    violation: Any,
    place: str,
    step: str,
    load: str,
    resources: Sequence[str],
    redactor: Redactor,
    root_table: str | None,
) -> ContractViolation:
    # dlt names the variant column that it would have added. Users know the column beside it.
    variant, column = violation.column_name, (violation.column_name or "").split("__v_")[0] or None
    value = None
    item = violation.data_item
    if column and hasattr(item, "get"):
        broken = item.get(variant, item.get(column))
        value = redactor.redact(repr(broken))[:_VALUE_LENGTH]
    what = f"column '{column}'" if column else f"table '{violation.table_name}'"
    shown = f", with the value {value}" if value is not None else ""
    message = (
        f"{place}: the schema contract ({violation.schema_entity}:"
        f" {violation.contract_mode}) does not allow {what}{shown}. Let the contract evolve,"
        " or fix the source."
    )
    return ContractViolation(
        redactor.redact(message),
        stage=step,
        load=load,
        resources=resources,
        breach=ContractBreach(
            table=violation.table_name, column=column, value=value, root_table=root_table
        ),
    )


def run_error_of_all(failures: Sequence[ResourceFailure], load: str) -> LoadsmithError:
    """Return the error of a load in which every resource failed."""
    message = "\n".join(failure.message for failure in failures)
    resources = [failure.resource for failure in failures]
    stage = failures[0].stage
    breach = next((failure.breach for failure in failures if failure.breach is not None), None)
    if breach is not None:
        return ContractViolation(
            message, breach=breach, stage=stage, load=load, resources=resources
        )
    verdict = Verdict.of_all(failure.verdict for failure in failures)
    return RunError(message, stage=stage, load=load, resources=resources, verdict=verdict)
