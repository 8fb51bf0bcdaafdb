"""Complete the keys of assets in a shell, from the files alone where that is possible."""

import contextlib
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from loadsmith.cli.locate import find_config_folder, find_dg_project


def complete_key(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the asset keys that begin with what is typed; none where there is no project."""
    head, comma, last = incomplete.rpartition(",")
    keys: Iterable[str] = ()
    # A shell shows an error in the middle of what is typed.
    with contextlib.suppress(Exception):
        keys = _keys_of(ctx.params.get("path"))
    return [CompletionItem(f"{head}{comma}{key}") for key in keys if key.startswith(last)]


def _keys_of(path: str | None) -> list[str]:
    root = find_dg_project(path)
    if root is not None:
        from loadsmith.cli.dg_project import build_project

        graph = build_project(root).resolve_asset_graph()
        return sorted(key.to_user_string() for key in graph.materializable_asset_keys)
    from loadsmith.config.files import read_project

    # Their nested tables would take Dagster, which takes longer than one waits for a key.
    return sorted(asset.value.asset_key for asset in read_project(find_config_folder(path)).assets)
