"""What a live dlt resource is fed by and says of itself; reads private names, imports no dlt."""

from typing import Any


def parent_name(resource: Any) -> str | None:
    """Return the name of the resource that feeds this transformer, or None."""
    pipe = getattr(resource, "_pipe", None)
    if pipe is None or not pipe.has_parent:
        return None
    return str(pipe.parent.name)


def root_name(resource: Any) -> str:
    """Return the name of the first resource of the chain that feeds this one; its own if none."""
    pipe = getattr(resource, "_pipe", None)
    if pipe is None:
        return str(resource.name)
    while pipe.has_parent:
        pipe = pipe.parent
    return str(pipe.name)


def docstring(resource: Any) -> str | None:
    """Return the docstring of the function behind a resource, or None."""
    pipe = getattr(resource, "_pipe", None)
    if pipe is None or pipe.is_empty:
        return None
    text = getattr(pipe.gen, "__doc__", None) if callable(pipe.gen) else None
    return text.strip() if text else None
