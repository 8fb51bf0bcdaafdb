"""Know the names of dlt's destinations without importing dlt."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

CUSTOM_DESTINATION = "destination"
"""What `@dlt.destination` makes; a dotted path names such a function."""

_WITHOUT_FOLDER = ("sqlite",)
"""SQLite is reached through dlt's `sqlalchemy`."""


@lru_cache(maxsize=1)
def destination_names() -> tuple[str, ...]:
    """Return the names of destinations: the folders of dlt's package `destinations.impl`."""
    spec = find_spec("dlt")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "destinations" / "impl"
        if folder.is_dir():
            names = {path.name for path in folder.iterdir() if (path / "factory.py").is_file()}
            return tuple(sorted(names.difference((CUSTOM_DESTINATION,)).union(_WITHOUT_FOLDER)))
    return ()
