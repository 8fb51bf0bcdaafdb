"""What a live dlt resource knows of itself, where dlt has no public name for it."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args, get_origin

from dlt.common.configuration import configspec, known_sections, resolve_configuration
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.configuration.specs import BaseConfiguration
from dlt.extract import DltResource, Incremental
from dlt.extract.incremental import IncrementalResourceWrapper
from dlt.extract.reference import SourceFactory
from dlt.extract.source import DltSource, _DltSingleSource


def is_source_function(value: Any) -> bool:
    """Tell whether a value is a function with `@dlt.source`; resources have factories too."""
    factory = value if isinstance(value, SourceFactory) else getattr(value, "_factory", None)
    return isinstance(factory, SourceFactory) and not issubclass(
        getattr(factory, "_impl_cls", DltSource), _DltSingleSource
    )


def is_resource_function(value: Any) -> bool:
    """Tell whether a value is a resource, or a function with `@dlt.resource`."""
    return isinstance(value, DltResource) or (
        isinstance(getattr(value, "_factory", None), SourceFactory)
        and not is_source_function(value)
    )


def feeding(resource: DltResource, known: Mapping[str, DltResource]) -> list[DltResource]:
    """Return a resource, what feeds it, and so on to its root, each as a resource.

    Args:
        resource: The resource.
        known: The resources of its source. What only stands before a `|` is not among them.
    """
    found = [resource]
    pipe = resource._pipe.parent
    while pipe is not None and not pipe.is_empty:
        own = next(
            (
                other
                for other in (known.get(pipe.name), found[-1]._parent)
                if other is not None and other._pipe is pipe
            ),
            None,
        )
        found.append(own or DltResource(pipe, {}, False, section=resource.section))
        pipe = pipe.parent
    return found


def description_of(resource: DltResource) -> str | None:
    """Return the docstring of the function behind a resource, never dlt's own."""
    text = vars(resource).get("__doc__")
    if not text and inspect.isfunction(resource._pipe.gen):
        text = resource._pipe.gen.__doc__
    return inspect.cleandoc(text) if isinstance(text, str) and text.strip() else None


def incremental_of(resource: DltResource) -> Incremental[Any] | None:
    """Return the cursor of a resource, from its hints or its function's arguments, or None.

    It has the type that the function's annotation gives it.
    """
    step: Any = resource.incremental
    if isinstance(step, Incremental):
        return step
    function: Any = resource._pipe.gen
    given: dict[str, Any] = {}
    parameter = None
    while callable(function) and parameter is None:
        # Calling a resource hides its parameters, and keeps the arguments beside its function.
        signature = inspect.signature(function)
        parameter = IncrementalResourceWrapper.get_incremental_arg(signature)
        if parameter is None:
            given = _arguments_in(function) or given
            function = getattr(function, "__wrapped__", None)
    found = step.incremental if step is not None else None
    if found is None and parameter is not None:
        found = _chosen(parameter, given)
    if found is None:
        found = next((value for value in given.values() if isinstance(value, Incremental)), None)
    if found is None and parameter is not None:
        found = _configured(resource, parameter)
    if found is None or not found.cursor_path:
        return None
    annotation = parameter.annotation if parameter is not None else None
    if not hasattr(found, "__orig_class__") and get_args(annotation):
        own = _cursor_annotation(annotation)
        if own is not None:
            found = found.copy()
            found.__orig_class__ = own
        else:
            # dlt would take `Optional[Any]` for the class of the cursor, and fail with IndexError.
            found.__orig_class__ = Incremental[Any]
    return found


def _cursor_annotation(annotation: Any) -> Any:
    """Return the cursor with the type of its values, of an annotation that may be optional."""
    kind = get_origin(annotation)
    if isinstance(kind, type) and issubclass(kind, Incremental):
        return annotation
    inner = map(_cursor_annotation, get_args(annotation))
    return next((own for own in inner if own is not None), None)


def _configured(resource: DltResource, parameter: inspect.Parameter) -> Incremental[Any] | None:
    """Return the cursor that dlt's configuration alone describes; None if there is none."""
    if parameter.default is None or _cursor_annotation(parameter.annotation) is None:
        return None
    # dlt looks for the fields of a cursor below the name of the argument.
    members = {"__annotations__": {parameter.name: Incremental}, parameter.name: None}
    spec: Any = configspec(type("CursorArgument", (BaseConfiguration,), members))
    sections = (known_sections.SOURCES, resource.section, resource.name)
    try:
        found = resolve_configuration(spec(), sections=tuple(filter(None, sections)))
    except ConfigurationException:
        # dlt tells what is missing when it calls the resource.
        return None
    cursor: Incremental[Any] = found[parameter.name]
    return cursor


def _arguments_in(function: Any) -> dict[str, Any] | None:
    """Return the arguments that a resource was called with, out of dlt's wrapper; None elsewhere.

    `explicit_args` is gone when the resource was renamed since, and wrong for a transformer.
    """
    if not inspect.isfunction(function):
        return None
    held = inspect.getclosurevars(function).nonlocals
    if not {"f", "args", "kwargs"} <= set(held):
        return None
    # A transformer gets its item first.
    items = (None,) if inspect.signature(function).parameters else ()
    bound = inspect.signature(held["f"]).bind_partial(*items, *held["args"], **held["kwargs"])
    return dict(bound.arguments)


def values_in(resource: DltResource) -> dict[str, Any]:
    """Return the values that a resource was made with.

    They are the arguments of its function, and the variables around it that the function uses. Two
    resources of one name that were made with other values may yield other rows.
    """
    found: dict[str, Any] = {}
    step: Any = resource._pipe.gen
    while callable(step):
        found.update(_arguments_in(step) or {})
        if inspect.isfunction(step) and not hasattr(step, "__wrapped__"):
            found.update(inspect.getclosurevars(step).nonlocals)
        step = getattr(step, "__wrapped__", None)
    if inspect.isgenerator(step):
        found.update(inspect.getgeneratorlocals(step))
    elif step is not None:
        found["data"] = step
    return found


def _chosen(parameter: inspect.Parameter, given: Mapping[str, Any]) -> Any:
    """Return the cursor of a call as dlt finds it: an argument over the default."""
    default = parameter.default
    is_default = isinstance(default, Incremental)
    if parameter.name not in given:
        return default if is_default else None
    value = given[parameter.name]
    if isinstance(value, Incremental):
        return default.merge(value) if is_default else value
    if not is_default:
        return None
    # A bare value in place of the cursor is where it starts.
    cursor = default.copy()
    cursor.initial_value = value
    return cursor


@contextmanager
def own_cursor(resource: Any) -> Iterator[None]:
    """Give a resource a cursor that no copy of it shares, for the block."""
    step = resource.incremental
    if not isinstance(step, IncrementalResourceWrapper):
        if step is not None:
            resource.apply_hints(incremental=step.copy())
        try:
            yield
        finally:
            if step is not None:
                resource.apply_hints(incremental=step)
        return
    # The function of the resource knows the wrapper, so that it cannot be another one.
    before = dict(vars(step))
    if step._incremental is not None:
        step._incremental = step._incremental.copy()
    try:
        yield
    finally:
        vars(step).clear()
        vars(step).update(before)


def each_once(resources: Iterable[DltResource]) -> list[DltResource]:
    """Return resources, each once; two that share a pipe are one."""
    return list({id(resource._pipe): resource for resource in resources}.values())


def query_of(loader: Any) -> Any:
    """Return the query of a loader of `sql_database`, without changes of the user."""
    return loader._make_query()


def root_name(resource: Any) -> str:
    """Return the name of the first resource of the chain that feeds this one; its own if none."""
    if not isinstance(resource, DltResource):
        return str(resource.name)
    return str(feeding(resource, {})[-1].name)
