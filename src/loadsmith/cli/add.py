"""`loadsmith add`: add a load to a project, from the same starters as `loadsmith init`."""

import re
import runpy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import yaml

from loadsmith.cli.locate import find_config_folder, find_dg_project
from loadsmith.cli.new_project import is_taken, make_project
from loadsmith.cli.output import ProjectCommand, show_json
from loadsmith.cli.show_starters import show_starters
from loadsmith.cli.starters import DESTINATIONS, SOURCES, DestinationStarter, SourceStarter
from loadsmith.errors import ConfigError
from loadsmith.names import lower_identifier

_NAME = re.compile(r"[a-z][a-z0-9_]*")

_HELP = """\
Add the load NAME to a project: a workflow file, or a folder with a defs.yaml in a project of
Dagster's dg, with what its source needs. It runs as it is; then put your own source in its place.

NAME begins the asset keys, and is the dataset. Without --destination the load goes where the first
load of the project goes. No file that is there is changed, but the template of secrets. PATH is the
folder of the project's files, or of a project of dg.

\b
Example:
  loadsmith add crm --source rest_api
"""


@dataclass(frozen=True)
class _Place:
    """Where the files of a new load go.

    Attributes:
        root: The folder that the project is in.
        layout: `odp` or `dg`.
        folders: Folders of the project by those of a project that `init` makes.
        configured: The files that may say where loads of the project go.
    """

    root: Path
    layout: str
    folders: Mapping[str, Path]
    configured: tuple[Path, ...]


@click.command(
    "add", cls=ProjectCommand, help=_HELP, short_help="Add a load to a project, ready to run."
)
@click.argument("name")
@click.argument("path", required=False)
@click.option("--source", type=click.Choice(list(SOURCES)), required=True, help="What is read.")
@click.option(
    "--destination",
    type=click.Choice(list(DESTINATIONS)),
    help="Where it goes; where the others go if left out.",
)
@click.option(
    "--list",
    is_flag=True,
    expose_value=False,
    callback=show_starters,
    help="Show the sources and destinations, and add nothing.",
)
@click.option(
    "--json", "as_json", is_flag=True, is_eager=True, help="Write the paths of the files as JSON."
)
def add_command(
    name: str, path: str | None, source: str, destination: str | None, as_json: bool
) -> None:
    """Add a load."""
    if not _NAME.fullmatch(name):
        close = lower_identifier(name, prefix="load", is_ascii=True)
        raise ConfigError(
            f"{name}: a name has small letters, digits and `_`, and begins with a letter. Take "
            f"'{close}'."
        )
    place = _find_place(path)
    starter = _named(SOURCES[source], name, place.layout)
    target = DESTINATIONS[destination] if destination else _usual(place)
    written = _write(_files(name, starter, target, place), place, starter, target)
    if as_json:
        show_json({"name": name, "files": written})
        return
    click.echo(f"Added {name}:")
    for file in written:
        click.echo(f"  {file}")
    extras = [extra for extra in (starter.extra, target.extra if destination else None) if extra]
    if extras:
        click.echo(f"It needs: pip install 'loadsmith[{','.join(sorted(extras))}]'")
    click.echo(f"Next: loadsmith check, then loadsmith run '{name}/*'")


def _find_place(path: str | None) -> _Place:
    root = find_dg_project(path)
    if root is not None:
        from loadsmith.cli.dg_project import open_project

        defs = Path(open_project(root).defs_module_path)
        return _Place(root, "dg", {"defs": defs}, tuple(sorted(defs.rglob("defs.y*ml"))))
    from loadsmith.config.files import read_project

    files = read_project(find_config_folder(path))
    folder = Path(files.root)
    folders = {"odp_config": folder, "dlt_project": Path(files.project_dir or files.base_path)}
    configured = sorted(folder.glob("workflows/**/*.y*ml"))
    return _Place(folder.parent, "odp", folders, tuple(configured))


def _named(source: SourceStarter, name: str, layout: str) -> SourceStarter:
    """Return a starter under another name; its code is in a folder of that name."""
    folder = source.module.partition(".")[0]
    files = {
        path if path.startswith("../") else f"{name}/{path.partition('/')[2]}": template
        for path, template in source.files.items()
    }
    is_code = any(not path.startswith("../") for path in source.files)
    if is_code and layout == "odp" and is_taken(name):
        raise ConfigError(f"{name}: a module of this name is installed. Choose another name.")
    module = f"{name}{source.module.removeprefix(folder)}" if is_code else source.module
    return replace(source, prefix=name, module=module, files=files)


def _files(
    name: str, source: SourceStarter, destination: DestinationStarter, place: _Place
) -> dict[Path, str]:
    """Return the texts of the files of the load by path."""
    found = {}
    for path, text in make_project("project", place.layout, source, destination).items():
        parts = Path(path).parts
        if place.layout == "dg":
            if len(parts) > 2 and parts[1] == "defs" and parts[2] == name:
                found[place.folders["defs"].joinpath(*parts[2:])] = text
        elif parts[0] == "dlt_project" and ".dlt" not in parts:
            found[place.folders["dlt_project"].joinpath(*parts[1:])] = text
        elif parts[:2] == ("odp_config", "workflows"):
            found[place.folders["odp_config"].joinpath(*parts[1:])] = text
        if parts[0] == "sample":
            found[place.root / path] = text
    return {path: _without_schema(text, path) for path, text in found.items()}


def _without_schema(text: str, path: Path) -> str:
    """Return the text without a first line that names a JSON Schema which is not there."""
    first, _, rest = text.partition("\n")
    mark = "$schema="
    if mark not in first or (path.parent / first.partition(mark)[2].strip()).exists():
        return text
    return rest.lstrip("\n")


def _usual(place: _Place) -> DestinationStarter:
    """Return where the first load of the project goes, as its file says it."""
    for file in place.configured:
        try:
            documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError):
            continue
        for params in (found for document in documents for found in _params(document)):
            if isinstance(params.get("destination"), str):
                kept = ("destination", "destination_params")
                own = {key: params[key] for key in kept if params.get(key)}
                text = yaml.safe_dump(own, sort_keys=False, allow_unicode=True).rstrip()
                return DestinationStarter(name=own["destination"], title="", params=text)
    return DESTINATIONS["duckdb"]


def _params(document: Any) -> Iterator[Mapping[str, Any]]:
    """Yield what may name a destination: defaults first, in either layout."""
    if not isinstance(document, Mapping):
        return
    attributes = document.get("attributes")
    own = attributes if isinstance(attributes, Mapping) else document
    defaults = own.get("defaults") or {}
    entries = [defaults, *(own.get("loads") or ()), *(own.get("assets") or ())]
    for entry in entries:
        if isinstance(entry, Mapping):
            params = entry.get("params")
            yield params if isinstance(params, Mapping) else entry


def _write(
    files: Mapping[Path, str], place: _Place, source: SourceStarter, target: DestinationStarter
) -> list[str]:
    taken = [path for path in files if path.exists() and "sample" not in path.parts]
    if taken:
        shown = _shown(taken[0], place.root)
        raise ConfigError(f"{shown}: there is something already. Choose another name.")
    written = []
    for path, text in files.items():
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(_shown(path, place.root))
        if path.name.startswith("make_"):
            runpy.run_path(str(path))
    example = place.folders.get("dlt_project", place.root) / ".dlt" / "secrets.toml.example"
    if example.is_file():
        before = example.read_text(encoding="utf-8")
        new = [text for text in (target.secrets, source.secrets) if text and text not in before]
        if new:
            example.write_text("\n\n".join([before.rstrip(), *new]) + "\n", encoding="utf-8")
            written.append(f"{_shown(example, place.root)} (changed)")
    return written


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
