"""Look up the tables of a component's loads, and ask sources that alone know theirs."""

import contextlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from dagster.components.resolved.errors import ResolutionException

from loadsmith.assets.define import with_seen_tables
from loadsmith.component.definitions import ComponentLoad
from loadsmith.engine.destinations import check_destination, destination_problems
from loadsmith.engine.schema_files import changes_between, types_of
from loadsmith.engine.secrets import settings_files, unfilled
from loadsmith.engine.snapshots import (
    inspect_load,
    inspect_source,
    read_snapshot,
    sent_by_run,
    write_snapshot,
)
from loadsmith.engine.sources import OWN_SOURCES, live_resources, source_problems
from loadsmith.errors import (
    ConfigError,
    LoadsmithError,
    ResolveError,
    SchemaFileNotFound,
    SecretNotFound,
    TranslationError,
    did_you_mean,
)
from loadsmith.model import (
    LoadDefinition,
    LoadSnapshot,
    ResourceSelection,
    SourceReference,
    TableSnapshot,
)
from loadsmith.resolve import early_variables, reload_problems, render_definition, used_variables

REFRESH = "dg utils refresh-defs-state"

_ASKED_SOURCES = ("sql_database",)
"""Core sources that connect when they are made, to list their tables. The resources of `rest_api`
and `filesystem` follow from their arguments."""


class UnknownTables(UserWarning):
    """The tables of a load are not known, so it has no assets."""


class SourceFailed(Exception):
    """The call of a source failed while its tables were looked up; leaves the load without assets.

    Only `look_at` raises it, and the component handles it.
    """


def asks_source(load: ComponentLoad) -> bool:
    """Return whether only the source itself knows the tables of a load."""
    definition = load.definition
    if definition.schema_file_path is not None:
        return False
    if definition.snapshot_path is not None:
        return True
    source = definition.source
    asked = isinstance(source, SourceReference) and source.module.split(".")[0] in _ASKED_SOURCES
    return asked and not definition.resources.is_plain


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known about a load.

    Attributes:
        snapshot: Its resources and tables.
        live: dlt's live resources by name, if Python makes the source.
    """

    snapshot: LoadSnapshot
    live: Mapping[str, Any] = field(default_factory=dict)


def refuse_wrong_destination(load: ComponentLoad, known: Known | None) -> None:
    """Refuse a destination that dlt does not have, or does not take these parameters.

    The parameters are checked only if dlt is imported already, because importing it is slow.

    Raises:
        ResolveError: It is misspelled, or a parameter of it is.
    """
    reference = load.definition.destination
    if reference is None:
        return
    problems = destination_problems(reference)
    if not problems and known is not None and known.snapshot.origin == "live":
        problems = check_destination(reference)
    if problems:
        raise ResolveError(f"{load.spec.described}: {' '.join(problems)}")


def problems_of(load: ComponentLoad, *, deep: bool) -> Iterator[str]:
    """Yield the problems of the destination of a load; imports dlt and the destination.

    Args:
        load: The load.
        deep: Whether to import the module of a declared source, too.
    """
    definition = load.definition
    problems = check_destination(definition.destination) if definition.destination else []
    if deep and isinstance(definition.source, SourceReference):
        problems += [message for _, message in source_problems(definition.source)]
    if load.spec.partitions_def is not None:
        problems = [*problems, *reload_problems(definition)]
    for problem in problems:
        yield f"{load.spec.described}: {problem}"
    yield from map(str, unfilled(settings_files(definition.source)))


@contextlib.contextmanager
def naming(load: ComponentLoad) -> Iterator[None]:
    """Add the place of the load to errors in the block that do not name it.

    Raises:
        ConfigError: Another library raised an error, such as Dagster for an invalid name.
    """
    try:
        yield
    except (SchemaFileNotFound, TranslationError) as error:
        raise type(error)(f"{load.spec.described}: {error}") from error
    except (LoadsmithError, ResolutionException):
        # These name their place.
        raise
    except Exception as error:
        # Dagster's errors about invalid names and owners have no common base.
        raise ConfigError(f"{load.spec.described}: {type(error).__name__}: {error}") from error


def look_at(load: ComponentLoad, state: Mapping[str, LoadSnapshot]) -> Known | None:
    """Return what is known about a load without asking its source, or None.

    Raises:
        SourceFailed: Its source was called, and failed.
    """
    definition = load.definition
    path = definition.snapshot_path
    snapshot: LoadSnapshot | None
    if path is not None and Path(path).is_file():
        snapshot = inspect_load(_whole(definition))
    elif not load.is_declared and not _names_resources_of_function(definition):
        try:
            return _look_at_python(load)
        except Exception as error:  # noqa: BLE001 - the user's source may raise anything
            snapshot = _of_failed_call(load, error)
    elif not load.is_declared:
        snapshot = inspect_load(definition, may_ask_source=False)
    elif asks_source(load):
        snapshot = state.get(definition.name) if path is None else None
    else:
        try:
            snapshot = _look_at_declared(definition)
        except Exception as error:  # noqa: BLE001 - the user's source may raise anything
            snapshot = _of_failed_call(load, error)
    if snapshot is None:
        return None
    _refuse_unknown_names(load, (resource.name for resource in snapshot.resources))
    return Known(snapshot=sent_by_run(replace(snapshot, **load.names), definition))


def _names_resources_of_function(definition: LoadDefinition) -> bool:
    """Tell whether a load needs no call of its source to know its resources.

    Several ops need to know who feeds whom.
    """
    from dlt.extract import DltResource, DltSource

    source = definition.source
    is_made = callable(source) and not isinstance(source, DltResource | DltSource)
    is_one_op = definition.op.granularity == "source" and not definition.resource_ops
    is_named = definition.schema_file_path is None and definition.resources.is_plain
    return is_made and is_one_op and is_named


def _of_failed_call(load: ComponentLoad, error: Exception) -> LoadSnapshot:
    """Return the resources that a load names, since a call of its source failed.

    Raises:
        SourceFailed: The load names none.
    """
    if isinstance(error, LoadsmithError) and not isinstance(error, SecretNotFound):
        # The file or a reference is wrong.
        raise error
    definition = load.definition
    if definition.schema_file_path is None and definition.resources.is_plain:
        return inspect_load(definition, may_ask_source=False)
    text = " ".join(str(error).split())
    kind = "" if isinstance(error, LoadsmithError) else f"{type(error).__name__}: "
    raise SourceFailed(
        f"{load.spec.described}: its source fails when it is called ({kind}{text}), so there are"
        " no assets of it. Name its `resources`, and it is not called before the run."
    ) from error


def _look_at_python(load: ComponentLoad) -> Known:
    definition = load.definition
    source, live = live_resources(definition.source, needs_secrets=False)
    _refuse_unknown_names(load, live)
    snapshot = inspect_source(source, **{**_NO_NAMES, **load.names})
    if definition.schema_file_path is not None:
        known = inspect_load(definition)
        tables = {resource.name: resource.tables for resource in known.resources}
        snapshot = replace(
            snapshot,
            resources=tuple(
                replace(resource, tables=tables.get(resource.name) or resource.tables)
                for resource in snapshot.resources
            ),
        )
    else:
        snapshot = with_seen_tables(snapshot, definition)
    return Known(snapshot=sent_by_run(snapshot, definition), live=live)


def _whole(definition: LoadDefinition) -> LoadDefinition:
    """Return the load of all resources, to compare a misspelled name with them."""
    if definition.schema_file_path is not None:
        return definition
    return replace(definition, resources=ResourceSelection())


def _refuse_unknown_names(load: ComponentLoad, resources: Iterable[str]) -> None:
    """Refuse a resource name that the source does not have."""
    known = set(resources)
    # A resource may be newer than the schema file.
    if load.definition.schema_file_path is not None:
        return
    for name in load.definition.resources.include:
        if name not in known and ResourceSelection(include=(name,)).is_plain:
            raise ResolveError(
                f"{load.spec.described}: the source has no resource {name!r}."
                f"{did_you_mean(name, known)}"
                + (f" Run `{REFRESH}` if it is new." if asks_source(load) else "")
            )


def _look_at_declared(definition: LoadDefinition) -> LoadSnapshot | None:
    if _is_asked(definition) or (definition.resources.is_plain and not _is_core(definition)):
        return inspect_load(definition, may_ask_source=False)
    try:
        return inspect_load(_whole(definition))
    except SecretNotFound:
        # Such a source can only be asked where its secrets are available.
        if definition.resources.is_plain:
            return inspect_load(definition, may_ask_source=False)
        return None


def warn_of_unknown_tables(loads: Iterable[ComponentLoad]) -> None:
    """Warn about loads without assets, and name the command that discovers their tables."""
    described = [load.spec.described for load in loads]
    if described:
        warnings.warn(
            f"{'; '.join(described)}: nobody has asked the source for its tables yet, so there "
            f"are no assets of it. Run `{REFRESH}` once, and after each change of the source.",
            UnknownTables,
            stacklevel=2,
        )


def refresh(loads: Iterable[ComponentLoad], state_path: Path | None, *, write: bool = True) -> bool:
    """Ask the sources that must be asked, store the answers, and show what changed.

    Args:
        loads: All loads of a component.
        state_path: File for the loads that have no `snapshot_path`; None where all have one.
        write: Whether to store the answers.

    Returns:
        Whether anything changed.

    Raises:
        LoadsmithError: A source could not be asked; its stored tables stay, and those of the others
            are stored.
    """
    state = read_state(state_path)
    names = []
    failed: list[Exception] = []
    changed = False
    for load in loads:
        if not asks_source(load):
            continue
        definition = load.definition
        path = Path(definition.snapshot_path) if definition.snapshot_path else None
        before = read_snapshot(str(path)) if path and path.is_file() else state.get(definition.name)
        try:
            after = _ask(load)
        except Exception as error:  # noqa: BLE001 - the user's source may raise anything
            # The other sources are asked all the same.
            failed.append(error)
            if path is None and before is not None:
                names.append(definition.name)
            continue
        changed |= before is None or _tables(before) != _tables(after)
        for line in describe_changes(before, after):
            click.echo(f"{definition.name}: {line}")
        if path and write:
            write_snapshot(after, str(path))
        elif path is None:
            state[definition.name] = after
            names.append(definition.name)
    if state_path is not None and write:
        stored = {name: state[name].to_dict() for name in names}
        _write(state_path, {"version": _VERSION, "loads": stored})
    if len(failed) > 1:
        raise ResolveError("\n".join(map(str, failed))) from failed[0]
    if failed:
        raise failed[0]
    return changed


def read_state(path: Path | None) -> dict[str, LoadSnapshot]:
    """Return the snapshots of a state file by the names of their loads; none without a file."""
    if path is None or not path.is_file():
        return {}
    loads = json.loads(path.read_text(encoding="utf-8"))["loads"]
    return {name: _stored(value) for name, value in loads.items()}


def describe_changes(before: LoadSnapshot | None, after: LoadSnapshot) -> Iterator[str]:
    """Yield a line for each table and column that is new, gone or changed."""
    new, old = _types(after), _types(before)
    if before is None:
        yield f"{len(new)} table(s): {', '.join(new)}"
        return
    changes = changes_between(old, new)
    for change in sorted(changes, key=lambda change: (change.table, change.column or "")):
        place = f"{change.table}.{change.column}"
        if change.kind == "new table":
            yield f"new table {change.table!r}"
        elif change.kind == "dropped table":
            yield f"table {change.table!r} is gone"
        elif change.kind == "dropped column":
            yield f"column {place} is gone"
        elif change.kind == "changed type":
            yield f"{place} is {change.after}, was {change.before}"
        else:
            yield f"new column {place} ({change.after})"
    if _tables(before) == _tables(after):
        yield f"no change, {len(new)} table(s)"


def _types(snapshot: LoadSnapshot | None) -> dict[str, dict[str, str | None]]:
    return {
        name: types_of([table]).get(name, {}) if table else {}
        for name, table in _tables(snapshot).items()
    }


_VERSION = 1
_NO_NAMES: Mapping[str, Any] = dict.fromkeys(("pipeline_name", "dataset_name", "destination_name"))


def _is_asked(definition: LoadDefinition) -> bool:
    source = definition.source
    return isinstance(source, SourceReference) and source.module.split(".")[0] in _ASKED_SOURCES


def _is_core(definition: LoadDefinition) -> bool:
    """Tell whether a source is one of dlt's own, which need no connection when they are called."""
    source = definition.source
    return isinstance(source, SourceReference) and source.module.split(".")[0] in OWN_SOURCES


def _ask(load: ComponentLoad) -> LoadSnapshot:
    """Ask the source itself, made as in a run, with the values of named secrets."""
    definition = replace(load.definition, snapshot_path=None)
    try:
        variables = early_variables(used_variables(definition))
        snapshot = inspect_load(render_definition(definition, variables))
    except LoadsmithError as error:
        raise type(error)(f"{load.spec.described}: {error}") from error
    # Databases list tables in any order, and a file in Git should not change without need.
    return replace(
        snapshot, resources=tuple(sorted(snapshot.resources, key=lambda known: known.name))
    )


def _tables(snapshot: LoadSnapshot | None) -> dict[str, TableSnapshot | None]:
    """Return the tables by name; a resource without known tables counts as one table."""
    tables: dict[str, TableSnapshot | None] = {}
    for resource in snapshot.resources if snapshot else ():
        if resource.tables:
            tables.update({table.name: table for table in resource.tables})
        else:
            tables[resource.table_name or resource.name] = None
    return tables


def _stored(value: Mapping[str, Any]) -> LoadSnapshot:
    return replace(LoadSnapshot.from_dict(value), origin="stored")


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
