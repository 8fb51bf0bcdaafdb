"""Check that a `source_module` exists by looking at files; nothing is imported."""

import re
from importlib.util import find_spec
from pathlib import Path

from loadsmith.documents import NotAFileError, refuse_no_file
from loadsmith.engine.project_import import iter_module_names
from loadsmith.errors import did_you_mean

DLT_SOURCES = ("filesystem", "rest_api", "sql_database")
"""dlt's own sources, which have no file in the project."""

_FUNCTION = re.compile(r"^def (\w+)", re.MULTILINE)

_MADE_UP = ("import *", "__getattr__", "globals()", "setattr(")
"""Code that gives a module names that its text does not show."""


def source_problem(module: str, project_dir: str | None) -> str | None:
    """Return why `source_module: module` names nothing in a project, or None.

    This only reads files. A doubtful name is left to the run, which imports the module.
    """
    parts = module.split(".")
    if "{{" in module or parts[0] in DLT_SOURCES:
        return None
    if not all(part.isidentifier() for part in parts):
        return (
            f"source {module!r}: this is no dotted path of a module. Write `package.module` or "
            "`package.module.function`."
        )
    top = Path(project_dir or "", parts[0])
    if project_dir is None or not (_file_of(top) or top.is_dir()):
        if _is_installed(parts[0]):
            return None
        where = f" in {Path(project_dir).name!r}" if project_dir else ""
        names = (*DLT_SOURCES, *(iter_module_names(project_dir) if project_dir else ()))
        advice = "" if project_dir else _WITHOUT_FOLDER
        hint = did_you_mean(module, names)
        return f"source {module!r}: there is no such module{where}.{hint}{advice}"
    path = Path(project_dir, *parts)
    if _file_of(path) or path.is_dir() or _is_installed(parts[0]):
        return None
    for file in (
        path.with_name(f"{parts[-1]}.py"),
        path.parent.with_name(f"{path.parent.name}.py"),
    ):
        try:
            refuse_no_file(file)
        except FileNotFoundError:
            continue
        except NotAFileError as error:
            return f"source {module!r}: {file} cannot be read: {error.strerror}."
    holder = _file_of(path.parent)
    text = _text_of(holder) if holder else ""
    if holder and (parts[-1] in text or any(sign in text for sign in _MADE_UP)):
        return None
    place = ".".join(parts[:-1])
    below = [
        name[len(place) + 1 :]
        for name in iter_module_names(project_dir)
        if name.startswith(f"{place}.")
    ]
    hint = did_you_mean(parts[-1], [*below, *_FUNCTION.findall(text)])
    return f"source {module!r}: {place!r} has no {parts[-1]!r}.{hint}"


_WITHOUT_FOLDER = (
    " Modules of a project are looked up in the `project_dir` of `- resource_kind: dlt`: add it to "
    "`resources` in dagster_config.yaml."
)


def _file_of(path: Path) -> Path | None:
    """Return the Python file of a module, or of a package."""
    for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        # The import in the run reports the problem.
        return "import *"


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
