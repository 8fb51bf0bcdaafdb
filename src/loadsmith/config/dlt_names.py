"""Names that dlt knows, found without importing it."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from loadsmith.errors import did_you_mean

_NOT_DESTINATIONS = ("destination",)
"""`destination` is what `@dlt.destination` makes; a dotted path names such a function."""

_ALSO = ("sqlite",)
"""Names that have no folder: SQLite is reached through dlt's `sqlalchemy`."""


@lru_cache(maxsize=1)
def destination_names() -> tuple[str, ...]:
    """Return the names of destinations: the folders of dlt's package `destinations.impl`."""
    spec = find_spec("dlt")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "destinations" / "impl"
        if folder.is_dir():
            found = {path.name for path in folder.iterdir() if (path / "factory.py").is_file()}
            return tuple(sorted(found.difference(_NOT_DESTINATIONS).union(_ALSO)))
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
