"""The commands of loadsmith in projects that `dg` made."""

from loadsmith.cli.dg_project.whole_project import (
    build_project as build_project,
    check_components as check_components,
    find_components as find_components,
    open_project as open_project,
    refresh_project as refresh_project,
)
