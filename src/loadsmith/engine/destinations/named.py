"""Name a destination, and the secret that it is reached with, for the error of a run."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from loadsmith.model import LoadDefinition, RunRequest

if TYPE_CHECKING:
    from dlt.common.destination import AnyDestination

# Their credentials are the path of a file.
_FILES = frozenset({"duckdb", "dummy", "sqlite"})


def named_destination(
    definition: LoadDefinition, request: RunRequest, destination: "AnyDestination | None"
) -> str:
    """Return the name of a destination and of its secret, after a comma.

    Args:
        definition: The load.
        request: The run, whose variables may hold the secret.
        destination: The destination, if it could be made.
    """
    reference = definition.destination
    name = destination.destination_name if destination else reference.name if reference else None
    if name is None:
        return "the destination"
    kind = destination.destination_type.rpartition(".")[2] if destination else name
    if kind in _FILES:
        return f"the destination {name!r}"
    params: Any = reference.params if reference else {}
    if not params and destination is not None:
        params = destination.config_params
    if kind == "filesystem" and _is_local(name, kind, params):
        return f"the destination {name!r}"
    places = [*_variables_in(params, request)] or [*_variables_of(name, kind)]
    if not places and params.get("credentials") is not None:
        where = "`destination_params`" if reference else "the arguments of the destination"
        return f"the destination {name!r}, and its credentials in {where}"
    place = places[0] if places else f"DESTINATION__{name.upper()}__CREDENTIALS"
    return f"the destination {name!r}, and its credentials in {place}"


def _is_local(name: str, kind: str, params: Any) -> bool:
    """Tell whether files go to a folder of this machine, which has no credentials."""
    import dlt

    sections = (f"destination.{section}.bucket_url" for section in dict.fromkeys((name, kind)))
    urls = (params.get("bucket_url"), *map(dlt.config.get, sections))
    url = next((str(url) for url in urls if url), "")
    return bool(url) and ("://" not in url or url.startswith("file:"))


def _variables_in(params: Any, request: RunRequest) -> Iterator[str]:
    """Yield the variables of the environment whose values are in the settings."""
    text = repr(params)
    for name, value in request.variables.items():
        if name.startswith("env.") and isinstance(value, str) and value and value in text:
            yield name.removeprefix("env.")


def _variables_of(name: str, kind: str) -> Iterator[str]:
    """Yield the names of the credentials that dlt finds for a destination."""
    import dlt

    for section in dict.fromkeys((name, kind)):
        variable = f"DESTINATION__{section}__CREDENTIALS".upper()
        if any(key == variable or key.startswith(f"{variable}__") for key in os.environ):
            yield variable
        elif dlt.secrets.get(f"destination.{section}.credentials") is not None:
            yield f"[destination.{section}.credentials] of secrets.toml"
