"""Find the folder in which Dagster keeps the runs of a project: `DAGSTER_HOME`, or the project's.

The project's folder is `.dagster_home`; where it is not there, runs are not kept.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from loadsmith.documents import NotAFileError, refuse_no_file
from loadsmith.errors import ConfigError

if TYPE_CHECKING:
    import dagster as dg

HOME_FOLDER = ".dagster_home"
HOME_VARIABLE = "DAGSTER_HOME"

_FILES = {
    "dagster.yaml": (
        "# Settings of Dagster, which keeps the runs of this project in this folder. Where the\n"
        f"# variable {HOME_VARIABLE} is set, the folder that it names is used instead.\n"
        "\n"
        "# Dagster sends statistics of its use unless this is false.\n"
        "telemetry:\n"
        "  enabled: false\n"
    ),
    ".gitignore": "*\n!.gitignore\n!dagster.yaml\n",
}
HOME_FILES = {f"{HOME_FOLDER}/{name}": text for name, text in _FILES.items()}
"""What makes a folder Dagster's, and keeps runs out of git; texts by path in the project."""


def find_home(base: Path) -> Path | None:
    """Return the folder that keeps the runs of a project, or None where they are not kept.

    Args:
        base: The folder of the project, above `odp_config`.
    """
    given = os.environ.get(HOME_VARIABLE)
    if given:
        return Path(given)
    folder = base / HOME_FOLDER
    return folder.absolute() if folder.is_dir() else None


def make_home(base: Path) -> Path:
    """Return the folder that keeps the runs of a project, made where there is none."""
    home = find_home(base)
    if home is None:
        home = (base / HOME_FOLDER).absolute()
        home.mkdir()
    if not os.environ.get(HOME_VARIABLE):
        _fill(home)
    return home


def _fill(home: Path) -> None:
    """Write what a folder of a project lacks, such as one that was made by hand."""
    for name, text in _FILES.items():
        if not (home / name).exists():
            (home / name).write_text(text, encoding="utf-8")


def open_instance(home: Path | None) -> "dg.DagsterInstance":
    """Return Dagster's instance of a folder, or one that keeps nothing."""
    import dagster as dg

    settings = None if home is None else home / "dagster.yaml"
    if settings is not None and settings.exists():
        try:
            refuse_no_file(settings)
        except NotAFileError as error:
            raise ConfigError(f"{settings} cannot be read: {error.strerror}.") from error
    if os.environ.get(HOME_VARIABLE):
        # Dagster says what is wrong with the folder.
        return dg.DagsterInstance.get()
    if home is None:
        return dg.DagsterInstance.ephemeral()
    _fill(home)
    return dg.DagsterInstance.from_config(str(home))
