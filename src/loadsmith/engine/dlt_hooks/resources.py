"""What a live dlt resource knows of itself, where dlt has no public name for it."""

import inspect
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
    parent = resource._pipe.parent
    return str(parent.name) if parent is not None else None


def description_of(resource: DltResource) -> str | None:
    """Return the docstring of the function behind a resource, never dlt's own."""
    text = vars(resource).get("__doc__")
    if not text and inspect.isfunction(resource._pipe.gen):
        text = resource._pipe.gen.__doc__
    return inspect.cleandoc(text) if isinstance(text, str) and text.strip() else None


def incremental_of(resource: DltResource) -> Incremental[Any] | None:
    """Return the incremental of a resource, the one in its function's arguments included."""
    step = resource.incremental
    if isinstance(step, Incremental):
        return step
    if isinstance(step, IncrementalResourceWrapper) and step._incremental is not None:
        return step._incremental
    generator: Any = resource._pipe.gen
    try:
        parameters = inspect.signature(generator).parameters
    except (TypeError, ValueError):
        return None
    for parameter in parameters.values():
        if isinstance(parameter.default, Incremental) and parameter.default.cursor_path:
            return parameter.default
    return None


def root_name(resource: Any) -> str:
    """Return the name of the first resource of the chain that feeds this one; its own if none."""
    pipe = getattr(resource, "_pipe", None)
    if pipe is None:
        return str(resource.name)
    while pipe.has_parent:
        pipe = pipe.parent
    return str(pipe.name)
