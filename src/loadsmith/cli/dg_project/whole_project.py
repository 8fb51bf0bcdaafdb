"""Check the components of a `dg` project, or ask their sources for their tables."""

import asyncio
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components.resolved.errors import ResolutionException
from dotenv import dotenv_values

from loadsmith.cli.dg_project.defs_files import DefsFiles, look_at_defs
from loadsmith.cli.output import places_start_in
from loadsmith.component.component import DltLoadCollectionComponent
from loadsmith.component.discovery import asks_source
from loadsmith.component.templating import PlacedError
from loadsmith.documents import Document, decode, read_whole, toml_problem
from loadsmith.errors import ConfigError, LoadsmithError, Problem, ResolveError, causes_of

#: A message that begins with its place, as in errors of loadsmith.
_PLACED = re.compile(r"([^\n:]+\.(?:ya?ml|json|toml)):(\d+):(\d+): (.*)", re.DOTALL)

#: A mistake in a value as Dagster shows it: file, line, path of keys, lines around it, message.
_SHOWN = re.compile(r"\S[^\n]*:(\d+) - ([^\n]*)\n.*\n([^\n]+)\n?", re.DOTALL)

#: Characters that are shown of other messages.
_LONGEST = 800


def check_components(
    root: Path, *, deep: bool = False, warn: Callable[[Problem], None] = lambda _problem: None
) -> int:
    """Return the number of assets that our components of a project have.

    The files are read first, by our own reader; then the components are made and built, as
    Dagster does it.

    Args:
        root: The root of the project.
        deep: Import the sources that are declared, too.
        warn: Takes what is no mistake and may surprise.

    Raises:
        ConfigError: There are mistakes; it holds all of them.
    """
    tree = open_project(root)
    files = _look_at(tree)
    problems, assets = list(files.problems), 0
    # Dagster makes components only if it knows the type of each.
    for folder, documents in files.ours.items() if files.are_readable else ():
        try:
            definitions = tree.build_defs_at_path(folder)
            assets += len(definitions.resolve_asset_graph().materializable_asset_keys)
            for component in _components_of(tree, folder):
                found = component.problems(deep=deep)
                problems += [_placed(message, documents) for message in found]
                for message in component.warnings():
                    warn(_placed(message, documents))
        except Exception as error:  # noqa: BLE001 - the project's own Python may raise anything
            problems += _problems_of(error, documents)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return assets


def build_project(root: Path) -> dg.Definitions:
    """Build the definitions of the defs folder of a project, as Dagster does it.

    Raises:
        LoadsmithError: A `defs.yaml` is wrong, or a definition of the project's own Python.
    """
    tree = open_project(root)
    files = _look_at(tree)
    if files.problems:
        raise ConfigError(files.problems)
    try:
        definitions: dg.Definitions = tree.build_defs()
    except Exception as error:
        # Making components runs the project's own Python, which may raise anything.
        raise _as_ours(error, root) from error
    return definitions


def find_components(root: Path) -> list[DltLoadCollectionComponent]:
    """Return our components of a project, made as Dagster makes them.

    Raises:
        LoadsmithError: A `defs.yaml` is wrong.
    """
    tree = open_project(root)
    files = _look_at(tree)
    if files.problems:
        raise ConfigError(files.problems)
    try:
        return list(tree.get_all_components(of_type=DltLoadCollectionComponent))
    except Exception as error:
        # Making components runs the project's own Python, which may raise anything.
        raise _as_ours(error, root) from error


def refresh_project(root: Path, *, check: bool = False) -> bool | None:
    """Ask the sources of all components of a project, and return whether anything changed.

    None stands for a project without a component whose source has to be asked.

    Args:
        root: The root of the project.
        check: Write nothing.

    Raises:
        LoadsmithError: A `defs.yaml` is wrong, or a source could not be asked.
    """
    asking = [
        component
        for component in find_components(root)
        if any(map(asks_source, component.resolved_loads))
    ]
    if not asking:
        return None
    changed = False
    failed: list[LoadsmithError] = []
    for component in asking:
        try:
            changed |= component.has_news() if check else asyncio.run(_refresh(component, root))
        except LoadsmithError as error:
            failed.append(error)
    if len(failed) > 1:
        raise ResolveError("\n".join(map(str, failed)))
    if failed:
        raise failed[0]
    return changed


def open_project(root: Path) -> Any:
    """Return Dagster's tree of the components of a project; no file of them is read yet.

    As in `dg`, variables of the project's `.env` fill the environment.

    Raises:
        ConfigError: The project's own settings are wrong, or its package cannot be imported.
    """
    try:
        for name, value in dotenv_values(root / ".env").items():
            os.environ.setdefault(name, value or "")
        for folder in (str(root), str(root / "src")):
            if Path(folder).is_dir() and folder not in sys.path:
                sys.path.insert(0, folder)
        return dg.ComponentTree.for_project(root)
    except Exception as error:
        # Dagster lets through what its TOML reader and the import of the package raise.
        problems = list(_problems_of_settings(root))
        raise ConfigError(problems or f"{root}: {_one_line(str(error))}") from error


def _problems_of_settings(root: Path) -> Iterator[Problem]:
    """Yield the problems of the project's settings files."""
    for name in ("dg.toml", "pyproject.toml", ".env"):
        if not (root / name).exists():
            continue
        try:
            raw = read_whole(root / name)
        except OSError as error:
            yield Problem(name, 0, 0, f"this cannot be read ({error.strerror or error}).")
            continue
        text, problems = decode(name, raw)
        yield from problems
        if text is None or name == ".env":
            continue
        problem = toml_problem(name, text)
        if problem:
            yield problem


def _look_at(tree: Any) -> DefsFiles:
    places_start_in(tree.defs_module_path)
    return look_at_defs(tree.defs_module_path, tree.defs_module_name)


async def _refresh(component: DltLoadCollectionComponent, root: Path) -> bool:
    await component.refresh_state(root)
    return True


def _components_of(tree: Any, folder: Path) -> Iterator[DltLoadCollectionComponent]:
    component = tree.load_component(folder)
    for member in getattr(component, "components", [component]):
        if isinstance(member, DltLoadCollectionComponent):
            yield member


def _problems_of(error: Exception, documents: Sequence[Document]) -> list[Problem]:
    """Return the mistakes behind an error of Dagster, with their places."""
    last: BaseException = error
    for cause in causes_of(error, hidden=True):
        if isinstance(cause, PlacedError):
            start = cause.position.start
            return [Problem(documents[0].file, start.line, start.col, _one_line(cause.message))]
        if isinstance(cause, ConfigError) and cause.problems:
            return list(cause.problems)
        if isinstance(cause, LoadsmithError):
            return [_placed(str(cause), documents)]
        shown = _SHOWN.fullmatch(str(cause)) if isinstance(cause, ResolutionException) else None
        if shown:
            return [_shown(shown, documents)]
        last = cause
    return [_placed(_named(last), documents)]


def _placed(message: str, documents: Sequence[Document]) -> Problem:
    """Return a problem at the place that its text begins with, or at the component."""
    placed = _PLACED.fullmatch(message)
    if placed:
        return Problem(placed[1], int(placed[2]), int(placed[3]), _one_line(placed[4]))
    return documents[0].problem(_one_line(message))


def _shown(shown: "re.Match[str]", documents: Sequence[Document]) -> Problem:
    """Return the problem that Dagster shows together with the lines around it."""
    path = tuple(int(step) if step.isdigit() else step for step in shown[2].split("."))
    line = int(shown[1])
    inside = [document for document in documents if document.root.line <= line] or documents[:1]
    return inside[-1].problem(_one_line(shown[3]), *path)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {_one_line(str(error)) or 'no message'}"


def _one_line(text: str) -> str:
    line = " ".join(line.strip() for line in text.splitlines() if line.strip())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _as_ours(error: BaseException, root: Path) -> LoadsmithError:
    """Return the mistake behind an error of Dagster."""
    last: BaseException = error
    for cause in causes_of(error, hidden=True):
        if isinstance(cause, LoadsmithError):
            return cause
        last = cause
    return ConfigError(f"{root}: {last}")
