"""Find the project of a command: the argument, `ODP_CONFIG_PATH`, or `./odp_config`."""

import os
from pathlib import Path

from loadsmith.cli.output import places_start_in
from loadsmith.errors import ConfigError

CONFIG_FOLDER = "odp_config"
CONFIG_VARIABLE = "ODP_CONFIG_PATH"

_DG_MARKS = {"dg.toml": "", "pyproject.toml": "[tool.dg"}
_MARKS = ("workflows", "dagster_config.yaml", "dagster_config.yml", "dagster_config.json")


def find_config_folder(path: str | None) -> str:
    """Return the folder that holds `dagster_config.yaml` and `workflows/`.

    The folder above it is accepted, too, because users usually work there.

    Raises:
        ConfigError: There is no such folder.
    """
    given = path or os.environ.get(CONFIG_VARIABLE) or CONFIG_FOLDER
    folder = Path(given)
    if not any((folder / mark).exists() for mark in _MARKS) and (folder / CONFIG_FOLDER).is_dir():
        folder /= CONFIG_FOLDER
    if folder.exists():
        places_start_in(folder)
        return str(folder)
    if path:
        advice = "Give the folder that holds dagster_config.yaml and workflows/."
    elif os.environ.get(CONFIG_VARIABLE):
        advice = f"The variable {CONFIG_VARIABLE} names it. Correct or unset the variable."
    else:
        advice = (
            "Go to the folder of a project, name the folder as an argument, or make a project with "
            "`loadsmith init NAME`."
        )
    raise ConfigError(f"{given}: there is no such folder. {advice}")


def find_dg_project(path: str | None) -> Path | None:
    """Return the root of the `dg` project that a folder is in, or None.

    It is also None if the folder holds workflow files.
    """
    folder = Path(path or ".").absolute()
    if any((base / mark).exists() for base in (folder, folder / CONFIG_FOLDER) for mark in _MARKS):
        return None
    if path is None and os.environ.get(CONFIG_VARIABLE):
        return None
    for root in (folder, *folder.parents):
        for name, text in _DG_MARKS.items():
            if (root / name).is_file() and text in (root / name).read_text("utf-8", "replace"):
                return root
    return None


def is_in_project(path: str | None) -> bool:
    """Tell whether there is a project, of either layout, where a command looks for one."""
    if find_dg_project(path) is not None or path is not None:
        return True
    return bool(os.environ.get(CONFIG_VARIABLE)) or Path(CONFIG_FOLDER).is_dir()
