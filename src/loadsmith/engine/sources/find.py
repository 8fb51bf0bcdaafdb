"""A source reference and its arguments in, a live dlt source out."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from dlt.common.configuration.exceptions import ConfigFieldMissingException
from dlt.common.exceptions import MissingDependencyException
from dlt.extract import DltResource, DltSource
from dlt.extract.reference import SourceReference as DltSourceReference

from loadsmith.engine.dlt_hooks import is_resource_function, is_source_function
from loadsmith.engine.packages import install_command
from loadsmith.engine.project_import import import_module, iter_module_names, natural_name
from loadsmith.engine.schema_files import naming_schema_beside
from loadsmith.engine.secrets import missing_secret
from loadsmith.engine.sources.arguments import argument_problems
from loadsmith.engine.sources.feeds import feeds_of, refuse_shared_cursors
from loadsmith.engine.sources.initial_values import with_times
from loadsmith.engine.sources.sql import with_defaults
from loadsmith.errors import ConfigError, ResolveError, did_you_mean
from loadsmith.model import Feeds, LoadDefinition, RunRequest, SourceReference

# dlt's own sources; the functions in their modules are found too (`filesystem.readers`).
OWN_SOURCES = ("filesystem", "rest_api", "sql_database")


#: What is said of a resource that only the schema file of a load has.
_REMEDY_IN_FILE = (
    " If its schema file still has the resource, `loadsmith schema --prune` removes it."
)


def make_source(
    source: SourceReference | Callable[[], Any] | Any, request: RunRequest | None = None
) -> DltSource:
    """Make the live dlt source that a definition means; needs its secrets in the environment.

    Accepts a reference, a function without arguments, and whatever dlt accepts as a source: a
    live source, a `@dlt.source` function that was not called, a resource, a list of resources.

    Raises:
        ResolveError: There is no such module or function, the module has none or several
            sources, an argument is unknown, or what the function returned is no source.
    """
    if not isinstance(source, SourceReference):
        with naming_schema_beside(getattr(source, "__module__", None)):
            made = _as_source(source, None, None)
    else:
        factory, name = find_source(source)
        problems = argument_problems(factory, source)
        if problems:
            raise ResolveError("\n".join(message for _, message in problems))
        told = (request.log, request.warn) if request else ()
        params = with_defaults(source, *told)
        with naming_schema_beside(source.module, source.search_path):
            made = _as_source(_call(factory, source, params), name, source.module)
    if "dlt.sources.sql_database" in sys.modules:
        # It registers a reader by ConnectorX whose panics are errors, which dlt takes in the run.
        importlib.import_module("loadsmith.engine.sources.sql_loader")
    return made


def select_resources(
    definition: LoadDefinition, request: RunRequest
) -> tuple[DltSource, tuple[str, ...]]:
    """Make the source of a run, and say which of its resources the run loads.

    An op that loads a part of a large source gets that part, for dlt would copy the whole, and go
    through all of it several times.

    Raises:
        ResolveError: The source has no such resource, or none that the definition takes; or one of
            them is fed from a cursor that another op moves.
        SelectionError: The run loads several partitions that keep a cursor each.
    """
    override = request.source
    recipe = definition.source
    if override is not None:
        recipe = (
            override
            if callable(override) and not hasattr(override, "resources")
            else (lambda: override)
        )
    source = make_source(recipe, request)
    known = list(source.resources)
    selected = request.resources or ()
    if request.resources is None:
        selected = tuple(
            name for name in source.resources.selected if definition.resources.matches(name)
        )
        if not selected:
            raise ResolveError(
                f"{definition.place or definition.name}: no resource of the source"
                f" '{source.name}' matches {', '.join(definition.resources.include)}."
                f" There is: {', '.join(known)}."
            )
    for name in selected:
        if name not in known:
            raise ResolveError(
                f"{definition.place or definition.name}: the source"
                f" '{source.name}' has no resource '{name}'.{did_you_mean(name, known)}"
                + _REMEDY_IN_FILE
                * (definition.schema_file_path is not None)
            )
    feeds = feeds_of(source)
    _check_zones(definition, request, feeds)
    selected = _with_siblings(definition, request, source, feeds, selected)
    refuse_shared_cursors(definition, request, feeds, selected)
    if definition.part_of is None:
        return source.with_resources(*selected), selected
    needed = {link for name in selected for link in feeds.chain(name)}
    kept = [resource for name, resource in source.resources.items() if name in needed]
    part = DltSource(source.schema.clone(), source.section, kept)
    part.resources.select(*selected)
    return part, selected


def _check_zones(definition: LoadDefinition, request: RunRequest, feeds: Feeds) -> None:
    """Refuse a time zone for a resource that the source does not have."""
    known = dict.fromkeys(link for chain in feeds.chains.values() for link in chain)
    for zones in (definition.options.cursor_timezone, request.params.cursor_timezone):
        for name in zones if isinstance(zones, Mapping) else ():
            if name not in known:
                raise ConfigError(
                    f"{definition.place or definition.name}: cursor_timezone names '{name}', which"
                    f" is no resource of the source.{did_you_mean(name, known)}"
                )


def _with_siblings(
    definition: LoadDefinition,
    request: RunRequest,
    source: DltSource,
    feeds: Feeds,
    selected: tuple[str, ...],
) -> tuple[str, ...]:
    """Add the resources that would miss what this run reads, because it moves their cursor."""
    if request.window is not None:
        # A window moves no cursor.
        return selected
    moved = {feed for name in selected for feed in feeds.moved(name)}
    siblings = (
        name
        for name in source.resources.selected
        if name not in selected
        and definition.resources.matches(name)
        and not moved.isdisjoint(feeds.moved(name))
    )
    return (*selected, *siblings)


def find_source(reference: SourceReference) -> tuple[Any, str]:
    """Return the function that a reference means, and its name; the module is imported.

    Raises:
        ResolveError: It is not there, or it is not clear which of several is meant.
    """
    for search_path in dict.fromkeys((reference.search_path, None)):
        if search_path is None and reference.module.partition(".")[0] in OWN_SOURCES:
            return _own_source(reference.module)
        module, attribute = _import_longest(reference, search_path)
        if module is not None:
            return _pick(module, attribute, reference)
    known = [
        *OWN_SOURCES,
        *(iter_module_names(reference.search_path) if reference.search_path else ()),
    ]
    where = f" in {reference.search_path!r}" if reference.search_path else ""
    raise ResolveError(
        f"source {reference.module!r}: there is no such module{where}."
        f"{did_you_mean(reference.module, known)}"
    )


def source_problems(reference: SourceReference) -> list[tuple[str | None, str]]:
    """Return why a source cannot be made, and the argument that is wrong; its module is imported.

    The argument is None where the source itself, or an argument that is missing, is the problem.
    """
    try:
        return argument_problems(find_source(reference)[0], reference)
    except ResolveError as error:
        return [(None, str(error))]
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything when imported
        message = f"its module fails when it is imported: {type(error).__name__}: {error}."
        return [(None, f"source {reference.module!r}: {message} Correct the module.")]


def _own_source(module: str) -> tuple[Any, str]:
    from dlt.extract.exceptions import UnknownSourceReference

    try:
        found, name = DltSourceReference.find(module), module.rpartition(".")[2]
        # The function itself says which arguments it takes; dlt's stand-in for a resource does not.
        return getattr(
            import_module(f"dlt.sources.{module.partition('.')[0]}", None), name, found
        ), name
    except UnknownSourceReference as exc:
        top = module.partition(".")[0]
        missing = next(
            (trace.exc for trace in exc.traces if isinstance(trace.exc, ImportError)), None
        )
        if missing is not None and not isinstance(missing, ModuleNotFoundError):
            text = " ".join(str(missing).split()).rstrip(".")
            command = install_command(missing)
            advice = f" {command} in the environment of the run." if command else ""
            raise ResolveError(f"source {module!r}: {text}.{advice}") from exc
        own = import_module(f"dlt.sources.{top}", None)
        known = [f"{top}.{name}" for name in _candidates(own)]
        raise ResolveError(
            f"source {module!r}: dlt has no such source.{did_you_mean(module, [top, *known])}"
        ) from exc


def _import_longest(
    reference: SourceReference, search_path: str | None
) -> tuple[ModuleType | None, str | None]:
    """Import the module, or the module but for the last part, which is then an attribute."""
    parts = reference.module.split(".")
    if not all(part.isidentifier() for part in parts):
        raise ResolveError(
            f"source {reference.module!r}: this is no dotted path of a module."
            " Write `package.module` or `package.module.function`."
        )
    for length in range(len(parts), max(len(parts) - 2, 0), -1):
        name = ".".join(parts[:length])
        try:
            with _secrets_named(reference), naming_schema_beside(name, search_path):
                module = import_module(name, search_path)
        except ModuleNotFoundError as exc:
            if exc.name and (name == exc.name or name.startswith(f"{exc.name}.")):
                continue
            raise _not_installed(exc, reference) from exc
        except MissingDependencyException as exc:
            raise _not_installed(exc, reference) from exc
        except SyntaxError as exc:
            raise ResolveError(
                f"{exc.filename}:{exc.lineno}:{exc.offset}: this is not Python: {exc.msg}."
                f" Source {reference.module!r} needs it."
            ) from exc
        return module, parts[-1] if length < len(parts) else None
    return None, None


def _not_installed(error: ImportError, reference: SourceReference) -> ResolveError:
    command = install_command(error, reference.module, reference.search_path)
    what = error.name or getattr(error, "caller", "")
    return ResolveError(
        f"source {reference.module!r}: its module imports {what!r}, which is not installed."
        f" {command} in the environment of the run."
    )


def _pick(module: ModuleType, attribute: str | None, reference: SourceReference) -> tuple[Any, str]:
    candidates = _candidates(module)
    place = natural_name(module.__name__)
    if attribute is not None:
        if not hasattr(module, attribute):
            below = [name[len(place) + 1 :] for name in _below(place, reference)]
            known = [*(candidates or _public_callables(module)), *below]
            raise ResolveError(
                f"source {reference.module!r}: module {place!r} has no {attribute!r}."
                f"{did_you_mean(attribute, known)}"
            )
        return getattr(module, attribute), attribute
    sources = {
        name: found
        for name, found in candidates.items()
        if is_source_function(found) or isinstance(found, DltSource)
    }
    if len(sources) == 1:
        name, found = next(iter(sources.items()))
        return found, name
    listed = ", ".join(f"{place}.{name}" for name in sources or candidates)
    if sources:
        raise ResolveError(
            f"source {reference.module!r}: the module has {len(sources)} sources."
            f" Name one of them: {listed}."
        )
    below = _below(place, reference)
    hint = (
        f" Name one of its resources: {listed}."
        if listed
        else f" Name one of its modules: {', '.join(below)}."
        if below
        else " Decorate one of its functions with `@dlt.source`."
    )
    raise ResolveError(
        f"source {reference.module!r}: the module has no function with `@dlt.source`.{hint}"
    )


def _below(place: str, reference: SourceReference) -> list[str]:
    if reference.search_path is None:
        return []
    names = iter_module_names(reference.search_path)
    return [name for name in names if name.startswith(f"{place}.")]


def _candidates(module: ModuleType) -> dict[str, Any]:
    """Return the sources and resources of a module; imported ones only where it defines none."""
    found = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            is_source_function(value) or is_resource_function(value) or isinstance(value, DltSource)
        )
    }
    own = {
        name: value
        for name, value in found.items()
        if getattr(value, "__module__", None) == module.__name__
        or isinstance(value, (DltSource, DltResource))
    }
    return own or found


def _public_callables(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]


def _call(factory: Any, reference: SourceReference, params: Mapping[str, Any]) -> Any:
    if isinstance(factory, DltSource) or not callable(factory):
        return factory
    if isinstance(factory, DltResource) and not params:
        return factory
    with _secrets_named(reference):
        return factory(**with_times(params))


@contextmanager
def _secrets_named(reference: SourceReference) -> Iterator[None]:
    """Say which secret is missing, and where to put it, when a source does not get one."""
    try:
        yield
    except (ConfigFieldMissingException, KeyError) as exc:
        missing = missing_secret(exc, reference.secrets_files)
        if missing is None:
            raise
        raise missing from exc


def _as_source(value: Any, name: str | None, place: str | None) -> DltSource:
    what = f"source {place!r}" if place else "the source of this load"
    if inspect.iscoroutine(value):
        value.close()
        raise ResolveError(f"{what}: it is an async function. Make its resources async instead.")
    if isinstance(value, DltSource):
        return value
    if isinstance(value, DltResource):
        value = [value]
    if is_source_function(value) or inspect.isfunction(value) or inspect.ismethod(value):
        own_name = getattr(value, "__name__", "")
        return _as_source(value(), name or (own_name if own_name.isidentifier() else None), place)
    if inspect.isgenerator(value):
        value = list(value)
    if isinstance(value, (list, tuple)) and value:
        if all(isinstance(item, DltResource) for item in value):
            return _gather(value, name)
        if len(value) == 1 and isinstance(value[0], DltSource):
            return value[0]
    if callable(value):
        return _as_source(value(), name, place)
    raise ResolveError(
        f"{what}: a {type(value).__name__} is no dlt source."
        " Return what a function with `@dlt.source` returns, or a list of resources."
    )


def _gather(resources: Iterable[DltResource], name: str | None) -> DltSource:
    from dlt.common.schema import Schema

    gathered = list(resources)
    source_name = name or gathered[0].source_name or gathered[0].name
    return DltSource(Schema(source_name), gathered[0].section, gathered)
