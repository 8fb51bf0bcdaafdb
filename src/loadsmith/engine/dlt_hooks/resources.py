"""What a live dlt resource knows of itself, where dlt has no public name for it."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


def upstream_of(resource: DltResource) -> str | None:
    """Return the name of the resource that feeds a transformer."""
    return next(feeds_of(resource), None)


def description_of(resource: DltResource) -> str | None:
    """Return the docstring of the function behind a resource, never dlt's own."""
    text = vars(resource).get("__doc__")
    if not text and inspect.isfunction(resource._pipe.gen):
        text = resource._pipe.gen.__doc__
    return inspect.cleandoc(text) if isinstance(text, str) and text.strip() else None


def incremental_of(resource: Any) -> Any | None:
    """Return the incremental of a resource, from its hints or its function's arguments, or None."""
    step = resource.incremental
    if step is not None and not isinstance(step, IncrementalResourceWrapper):
        return step
    if step is not None and step.incremental is not None:
        return step.incremental
    given = dict(resource.explicit_args or {}) if resource.args_bound else {}
    for value in given.values():
        if isinstance(value, Incremental):
            return value
    try:
        parameter = IncrementalResourceWrapper.get_incremental_arg(
            inspect.signature(resource._pipe.gen)
        )
    except (TypeError, ValueError):
        return None
    if parameter is None or not isinstance(parameter.default, Incremental):
        return None
    if not parameter.default.cursor_path:
        return None
    if given.get(parameter.name) is None:
        return parameter.default
    # A bare value in place of the cursor is where it starts.
    default = parameter.default.copy()
    default.initial_value = given[parameter.name]
    return default


@contextmanager
def own_cursor(resource: Any) -> Iterator[None]:
    """Give a resource a cursor that no copy of it shares, for the block."""
    step = resource.incremental
    if not isinstance(step, IncrementalResourceWrapper):
        if step is not None:
            resource.apply_hints(incremental=step.copy())
        yield
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


def feeds_of(resource: Any) -> Iterator[str]:
    """Give the names of what feeds a resource, the nearest first."""
    pipe = resource._pipe.parent
    while pipe is not None:
        yield str(pipe.name)
        pipe = pipe.parent


def query_of(loader: Any) -> Any:
    """Return the query of a loader of `sql_database`, without changes of the user."""
    return loader._make_query()


def root_name(resource: Any) -> str:
    """Return the name of the first resource of the chain that feeds this one; its own if none."""
    names = [str(resource.name)]
    if isinstance(resource, DltResource):
        names.extend(feeds_of(resource))
    return names[-1]
