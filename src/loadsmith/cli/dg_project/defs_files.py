"""Find the mistakes in the `defs.yaml` files of a `dg` project, with file, line and column.

Dagster parses these files before it knows whose components they describe. Its messages about
invalid YAML lack a place, and nested aliases can keep it busy for ever. `documents` has limits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import dagster as dg
from dagster.components.core.defs_module import (
    ComponentFileModel,
    ComponentPostProcessingModel,
)

from loadsmith.component.component import DltLoadCollectionComponent
from loadsmith.config.places import validate
from loadsmith.documents import Document, NotAFileError, read_definitions, read_whole
from loadsmith.errors import Problem

_NAMES = ("defs.yaml", "defs.yml", "component.yaml")
"""Names of the file of a component; Dagster reads the first one that exists."""

_ADVICE = "Begin with `type: loadsmith.DltLoadCollectionComponent`, or the type of another one."


@dataclass
class DefsFiles:
    """The files of a defs folder.

    Attributes:
        problems: Their mistakes.
        ours: The documents of the files that describe a component of loadsmith and have no
            mistake, by folder.
        are_readable: Whether the component of each file is known.
    """

    problems: list[Problem] = field(default_factory=list)
    ours: dict[Path, list[Document]] = field(default_factory=dict)
    are_readable: bool = True


def look_at_defs(folder: Path, module: str) -> DefsFiles:
    """Read all files of components that Dagster would read, in bounded time.

    For other components, only unreadable files and unknown types are reported.

    Args:
        folder: The defs folder.
        module: Its module; types such as `.MyLoads` start from the module of their folder.
    """
    files = DefsFiles()
    _look_into(folder, module, folder, files)
    return files


def file_of(folder: Path) -> Path:
    """Return the file that describes the component of a folder, whether or not it exists."""
    return next((folder / name for name in _NAMES if (folder / name).exists()), folder / _NAMES[0])


def _look_into(folder: Path, module: str, defs: Path, files: DefsFiles) -> None:
    file = file_of(folder)
    if file.exists() and not _look_at(file, module, defs, files):
        return
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        files.problems.append(_cannot_read(_name(folder, defs), error))
        return
    for path in below:
        if path.name != "__pycache__" and not path.name.startswith("."):
            _look_into(path, f"{module}.{path.name}", defs, files)


def _look_at(file: Path, module: str, defs: Path, files: DefsFiles) -> bool:
    """Read a file, and return whether Dagster also reads the folders below it."""
    name = _name(file, defs)
    try:
        raw = read_whole(file)
    except OSError as error:
        files.problems.append(_cannot_read(name, error))
        files.are_readable = False
        return True
    documents, problems = read_definitions(name, raw)
    is_folder = documents is None
    is_ours = False
    files.are_readable &= documents is not None
    for document in documents or ():
        component, wrong = _component_of(document, module)
        problems += wrong
        if component is None:
            files.are_readable = False
        elif issubclass(component, DltLoadCollectionComponent):
            is_ours = True
            problems += _problems_of_ours(component, document)
        else:
            is_folder |= issubclass(component, dg.DefsFolderComponent)
    files.problems += dict.fromkeys(problems)
    if documents and is_ours and not problems:
        files.ours[file.parent] = documents
    return is_folder


def _component_of(
    document: Document, module: str
) -> tuple[type[dg.Component] | None, list[Problem]]:
    if not isinstance(document.root.value, dict):
        return None, [document.problem(f"a component is a mapping. {_ADVICE}")]
    model, problems = validate(ComponentFileModel, document)
    if model is None:
        return None, problems
    try:
        return _import(model.type, module), []
    except _NoComponent as error:
        return None, [document.problem(str(error), "type")]


class _NoComponent(Exception):
    """A type is not a component; never leaves this module."""


def _import(text: str, module: str) -> type[dg.Component]:
    home, _, name = (f"{module}{text}" if text.startswith(".") else text).rpartition(".")
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    if not all(part.isidentifier() for part in (*home.split("."), name)):
        raise _NoComponent(f"{shown!r} is no component. {_ADVICE}")
    try:
        component = getattr(import_module(home), name, None)
    except ModuleNotFoundError as error:
        raise _NoComponent(
            f"there is no component {shown!r}: there is no module {error.name!r}."
            f"{_hint(text) or ' Is its package installed?'}"
        ) from error
    except Exception as error:
        # The user's module may raise anything when it is imported.
        raise _NoComponent(
            f"the component {shown!r}: its module fails when it is imported: "
            f"{type(error).__name__}: {error}. Correct the module."
        ) from error
    if not isinstance(component, type) or not issubclass(component, dg.Component):
        raise _NoComponent(f"there is no component {shown!r}.{_hint(text) or f' {_ADVICE}'}")
    return component


def _hint(text: str) -> str:
    near = get_close_matches(text, ["loadsmith.DltLoadCollectionComponent"])
    return f" Did you mean {near[0]!r}?" if near else ""


def _problems_of_ours(component: type[dg.Component], document: Document) -> Iterator[Problem]:
    model = component.get_model_cls()
    if model is None:
        return
    attributes = document.root.value.get("attributes")
    if attributes is None or attributes.value is None:
        message = "the field 'attributes' is missing. Add it, with `loads`."
        yield document.problem(message)
        return
    yield from validate(model, document, ("attributes",))[1]
    if document.root.value.get("post_processing") is not None:
        yield from validate(ComponentPostProcessingModel.model(), document, ("post_processing",))[1]


def _name(path: Path, defs: Path) -> str:
    return path.relative_to(defs).as_posix()


def _cannot_read(name: str, error: OSError) -> Problem:
    todo = "Put a file there." if isinstance(error, NotAFileError) else "Look at its permissions."
    message = f"this cannot be read ({error.strerror or error}). {todo}"
    return Problem(name, 0, 0, message)
