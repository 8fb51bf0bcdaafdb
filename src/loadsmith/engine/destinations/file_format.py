"""The file format that a destination loads fastest."""

from typing import Any

from loadsmith.engine.destinations.make import DestinationTraits


def prefer_fastest_file_format(destination: Any, traits: DestinationTraits) -> None:
    """Make the format that the destination loads fastest its default.

    A resource's own `file_format`, `loader_file_format` and dlt's settings go before it.
    """
    params = destination.caps_params
    if traits.loader_file_format and "preferred_loader_file_format" not in params:
        if configured_file_format(destination.destination_name):
            return
        params["preferred_loader_file_format"] = traits.loader_file_format


def configured_file_format(destination_name: str) -> str | None:
    """Return the file format that the user's own dlt configuration asks for, or None."""
    import dlt

    for key in (
        f"destination.{destination_name}.loader_file_format",
        f"destination.{destination_name}.preferred_loader_file_format",
        "destination.preferred_loader_file_format",
        "normalize.loader_file_format",
        "loader_file_format",
    ):
        value: Any = dlt.config.get(key)
        if value:
            return str(value)
    return None
