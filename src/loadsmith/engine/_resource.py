"""What feeds a live dlt resource in the end; reads private names, imports no dlt."""

from typing import Any


def root_name(resource: Any) -> str:
    """Return the name of the first resource of the chain that feeds this one; its own if none."""
    pipe = getattr(resource, "_pipe", None)
    if pipe is None:
        return str(resource.name)
    while pipe.has_parent:
        pipe = pipe.parent
    return str(pipe.name)
