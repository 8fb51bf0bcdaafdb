"""Run `dlt init` and collect the files that it makes."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import tomlkit

CORE_SOURCES = ("filesystem", "rest_api", "sql_database")
"""Sources that come with dlt itself."""

ENVIRONMENT_FILE = ".env.example"

_HEADER = """\
# What dlt asks for, by the names that it finds in the environment. Copy the lines that you need
# to the .env file of the project and fill them in; keep that file out of version control.
"""


@dataclass(frozen=True, kw_only=True)
class InitFiles:
    """The files that `dlt init` made, by path; `environment` is the text of `.env.example`."""

    kept: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""


def run_dlt_init(source: str, destination: str) -> InitFiles:
    """Run `dlt init` in a temporary folder and read its files.

    dlt's core sources come with dlt; any other is fetched by dlt.

    Raises:
        click.ClickException: `dlt init` failed; the message holds its error.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        done = subprocess.run(  # noqa: S603 - this interpreter, and no shell
            [sys.executable, "-m", "dlt", "--non-interactive", "init", source, destination],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        # `dlt init` exits with 0 even if it fails; only the files show success.
        if not any(folder.glob("*.py")):
            reason = next(iter(done.stderr.strip().splitlines()), "it made no files.")
            raise click.ClickException(
                f"dlt init {source} {destination}: {reason.strip()} The core sources "
                f"{', '.join(CORE_SOURCES)} need no network; `dlt init --list-sources` and "
                "`--list-destinations` tell the others."
            )
        return _read(folder)


def _read(folder: Path) -> InitFiles:
    kept = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        # Dot files are dlt's settings, and a .gitignore for a whole repository.
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            kept[relative.as_posix()] = path.read_text(encoding="utf-8")
    lines = [f"{name}={value}" for name, value in _settings(folder / ".dlt" / "secrets.toml")]
    lines += [f"# {name}={value}" for name, value in _settings(folder / ".dlt" / "config.toml")]
    text = f"{_HEADER}\n" + "\n".join(lines) + "\n" if lines else ""
    return InitFiles(kept=kept, environment=text)


def _settings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the settings of a TOML file by dlt's names of environment variables.

    The section `runtime` is about the user's dlt, not about this load.
    """
    if not path.is_file():
        return
    document = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    for section, value in document.items():
        if section != "runtime":
            yield from _flat(value, (section,))


def _flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, (*path, name))
        return
    # dlt marks a setting without default by a text, or by 0 if it is a number.
    open_value = value == 0 or (isinstance(value, str) and value.startswith("<configure"))
    yield "__".join(path).upper(), "" if open_value else str(value)
