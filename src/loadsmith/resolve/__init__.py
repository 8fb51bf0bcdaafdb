"""Configuration in, load definitions out. Nothing is imported, opened or asked."""

from loadsmith.resolve.groups import GroupedLoad, merge_definitions
from loadsmith.resolve.loads import resolve_asset, resolve_load
from loadsmith.resolve.rendering import render_definition

__all__ = [
    "GroupedLoad",
    "merge_definitions",
    "render_definition",
    "resolve_asset",
    "resolve_load",
]
