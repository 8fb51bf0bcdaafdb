"""Turn configuration into load definitions; nothing is imported or opened."""

from loadsmith.resolve.groups import GroupedLoad, merge_definitions
from loadsmith.resolve.loads import resolve_asset, resolve_load
from loadsmith.resolve.reloads import reload_problems, reload_warnings
from loadsmith.resolve.rendering import render_definition
from loadsmith.resolve.variables import (
    early_variables,
    render_early,
    run_variables,
    used_variables,
)

__all__ = [
    "GroupedLoad",
    "early_variables",
    "merge_definitions",
    "reload_problems",
    "reload_warnings",
    "render_definition",
    "render_early",
    "resolve_asset",
    "resolve_load",
    "run_variables",
    "used_variables",
]
