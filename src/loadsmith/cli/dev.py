"""`loadsmith dev`: start Dagster's page on a project."""

import os
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import click

from loadsmith.cli.home import HOME_VARIABLE, make_home
from loadsmith.cli.locate import CONFIG_VARIABLE, find_config_folder, find_dg_project
from loadsmith.cli.output import ProjectCommand
from loadsmith.errors import ConfigError

_HELP = """\
Start Dagster's page on a project, with the runs of `loadsmith run`, its schedules and sensors.

It runs until Ctrl-C: `dg dev` in a project of Dagster's dg, and `dagster dev` elsewhere. Runs are
kept in the folder of DAGSTER_HOME, or else in .dagster_home of the project, which is made where it
is missing. PATH is the folder of the project's files, or of a project of dg.

\b
Examples:
  loadsmith dev
  loadsmith dev --port 3001
"""

_DEFINITIONS = """\
from pathlib import Path

from loadsmith import build_definitions

defs = build_definitions(Path(__file__).parent / "{folder}")
"""

#: Dagster recommends `dg dev`, which not every project can use.
_SUPERSEDED = "ignore:Function `dev_command` is superseded"


@click.command("dev", cls=ProjectCommand, help=_HELP, short_help="Start Dagster's page.")
@click.argument("path", required=False)
@click.option("-p", "--port", type=int, help="Port of the page; Dagster takes 3000 if left out.")
@click.option("--host", metavar="HOST", help="Address of the page; this machine's own.")
def dev_command(path: str | None, port: int | None, host: str | None) -> None:
    """Start Dagster's page."""
    root = find_dg_project(path)
    base = root or Path(find_config_folder(path)).absolute().parent
    if find_spec("dagster_webserver") is None:
        raise ConfigError(
            "Dagster's page is not installed. Install it: pip install 'loadsmith[ui]'"
        )
    command = _command(base, is_dg=root is not None, folder=path)
    if port is not None:
        command += ["--port", str(port)]
    if host is not None:
        command += ["--host", host]
    _become(command, base)


def _command(base: Path, *, is_dg: bool, folder: str | None) -> list[str]:
    """Return the command line that starts Dagster on a project.

    Raises:
        ConfigError: Nothing says what Dagster shall read.
    """
    dg = Path(sysconfig.get_path("scripts"), "dg")
    if is_dg and dg.is_file():
        return [str(dg), "dev"]
    command = [sys.executable, "-W", _SUPERSEDED, "-m", "dagster", "dev"]
    pyproject = base / "pyproject.toml"
    if is_dg or (base / "workspace.yaml").is_file() or _names_a_module(pyproject):
        return command
    if (base / "definitions.py").is_file():
        return [*command, "-f", "definitions.py"]
    name = Path(find_config_folder(folder)).name
    raise ConfigError(
        f"{base}: Dagster needs a file that says what the project is. Write definitions.py:\n\n"
        f"{_DEFINITIONS.format(folder=name)}"
    )


def _names_a_module(pyproject: Path) -> bool:
    return pyproject.is_file() and "[tool.dagster]" in pyproject.read_text("utf-8", "replace")


def _become(command: list[str], base: Path) -> NoReturn:
    """Replace this process by another one in a folder, which gets Ctrl-C and signals."""
    home, here = make_home(base), Path.cwd()
    shown = home.relative_to(here) if home.is_relative_to(here) else home
    click.echo(f"Runs are kept in {shown}. Ctrl-C stops Dagster.", err=True)
    sys.stderr.flush()
    environment = {**os.environ, HOME_VARIABLE: str(home)}
    if os.environ.get(CONFIG_VARIABLE):
        # The folder that Dagster starts in may be another one.
        environment[CONFIG_VARIABLE] = str(Path(os.environ[CONFIG_VARIABLE]).absolute())
    os.chdir(base)
    os.execve(command[0], command, environment)  # noqa: S606 - nothing of it needs a shell
