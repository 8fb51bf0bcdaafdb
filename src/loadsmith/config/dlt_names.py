"""Names that dlt knows, found without importing it."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from loadsmith.errors import did_you_mean

_NOT_DESTINATIONS = ("destination", "__pycache__")
"""`destination` is what `@dlt.destination` makes; a dotted path names such a function."""


@lru_cache(maxsize=1)
def destination_names() -> tuple[str, ...]:
    """Return the names of dlt's destinations: the folders of its package `destinations.impl`."""
    spec = find_spec("dlt")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "destinations" / "impl"
        if folder.is_dir():
            found = (path.name for path in folder.iterdir() if path.is_dir())
            return tuple(sorted(name for name in found if name not in _NOT_DESTINATIONS))
    return ()


def destination_problem(name: str) -> str | None:
    """Return what is wrong with a destination's name, or None.

    A dotted path is left to the run, which imports it, and so is a name with a variable.
    """
    known = destination_names()
    if not known or name in known or "." in name or "{{" in name:
        return None
    hint = did_you_mean(name, known) or f" There is: {', '.join(known)}."
    return f"there is no destination {name!r}.{hint}"
