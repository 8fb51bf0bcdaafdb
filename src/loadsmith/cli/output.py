"""Write tables, JSON and errors of commands, and define their exit codes."""

import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadsmith.errors import ConfigError, LoadsmithError

if TYPE_CHECKING:
    from rich.console import Console

    from loadsmith.engine.secrets import Redactor
    from loadsmith.model import LoadDefinition

EXIT_PROBLEM = 1
"""There are mistakes, or a load failed. 0 is success; click exits with 2 for wrong usage."""

EXIT_STOPPED = 130
"""The user pressed Ctrl-C; shells use the same number."""

ABANDONED = "loadsmith-connect"
"""Name of a thread that waits for an answer which the command does not wait for any longer."""

# A path in front of the number of a line.
_PLACE = re.compile(r"[^\s:'\"(]+\.(?:ya?ml|json|toml|py)(?=:\d)")


class ProjectCommand(click.Command):
    """A command that takes `--debug`, and shows loadsmith's errors as text with exit code 1."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_remember_debug,
                help="Show Python's traceback with an error.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; where a shell has put files in the place of a pattern, say so."""
        given = [argument for argument in args if not argument.startswith("-")]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if len(given) > 2 and all(map(os.path.exists, given)):
                raise click.UsageError(
                    "the shell has put the names of files in the place of a pattern. Quote the "
                    f"pattern: {ctx.command_path} '*'",
                    ctx,
                ) from error
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except LoadsmithError as error:
            if is_debug(ctx):
                raise
            show_error(error)
            ctx.exit(EXIT_PROBLEM)


def _remember_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().ensure_object(dict)["debug"] = True


def is_debug(ctx: click.Context) -> bool:
    """Tell whether the user asked for tracebacks."""
    return bool((ctx.find_root().obj or {}).get("debug"))


def make_console(*, stderr: bool = False) -> "Console":
    """Return a console on standard output, or on standard error for progress and errors.

    Lines are not wrapped in a pipe or a file.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else 240)


def hide_secrets_of(definitions: "Iterable[LoadDefinition]") -> None:
    """Hide the secrets of loads in all that this command shows from now on."""
    from loadsmith.engine.secrets import secret_variables

    redactor = _redactor()
    for definition in definitions:
        redactor.add_definition(definition)
        files = getattr(definition.source, "secrets_files", ())
        redactor.add_variables(secret_variables(files))


def _redactor() -> "Redactor":
    """Return what hides secrets in this command: those of the environment, at first."""
    from loadsmith.engine.secrets import redactor_of

    context = click.get_current_context(silent=True)
    kept: dict[str, Any] = context.find_root().ensure_object(dict) if context else {}
    if "redactor" not in kept:
        kept["redactor"] = redactor_of()
    redactor: Redactor = kept["redactor"]
    return redactor


def places_start_in(folder: str | Path) -> None:
    """Say from which folder the files are named in the messages of this command."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.find_root().ensure_object(dict)["places"] = Path(folder)


def _seen_from_here(text: str) -> str:
    """Return a message with the path of each file as one can click it in the terminal."""
    context = click.get_current_context(silent=True)
    folder: Path | None = (context.find_root().obj or {}).get("places") if context else None
    if folder is None:
        return text

    def shown(place: "re.Match[str]", folder: Path = folder) -> str:
        file = folder / place[0]
        return os.path.relpath(file) if file.is_file() else place[0]

    return _PLACE.sub(shown, text)


def show_traceback(error: BaseException) -> None:
    """Write the traceback of an error, without secrets, on standard error."""
    if _redactor().clean(error):
        traceback.print_exception(error)
    else:
        show_unexpected(error)


def without_secrets(text: str) -> str:
    """Return a text without the secrets that this command knows."""
    return _redactor().redact(text)


def show_text(text: str) -> None:
    """Write a message of a run on standard error."""
    click.echo(_seen_from_here(without_secrets(text)), err=True)


def show_error(error: BaseException) -> None:
    """Write the message of an error, and how many problems it holds, on standard error."""
    text = _seen_from_here(without_secrets(str(error)))
    click.secho(text, err=True, fg="red" if sys.stderr.isatty() else None)
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        click.echo(f"{len(error.problems)} problems.", err=True)


def show_unexpected(error: BaseException) -> None:
    """Write an unexpected error in one paragraph on standard error."""
    if isinstance(error, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return
    text = _redactor().redact(str(error)).strip() or "no message"
    click.echo(
        f"{type(error).__name__}: {text}\nRun it again with --debug for the traceback.",
        err=True,
    )


def counted(number: int, noun: str) -> str:
    """Return `1 asset`, `2 assets`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def show_json(value: Any) -> None:
    """Write `value` as JSON on standard output."""
    plain = json.loads(json.dumps(value, ensure_ascii=False, default=str))
    click.echo(json.dumps(_redactor().redact_value(plain), indent=2, ensure_ascii=False))


def problems_as_data(error: LoadsmithError) -> list[dict[str, Any]]:
    """Return the problems of an error as plain data: file, line, column, message."""
    if isinstance(error, ConfigError) and error.problems:
        return [asdict(problem) for problem in error.problems]
    return [{"file": None, "line": 0, "column": 0, "message": str(error)}]


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None
) -> None:
    """Write a table that fits the terminal; columns named with a `#` in front are numbers."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in columns:
        number = column.startswith("#")
        table.add_column(column.lstrip("#"), justify="right" if number else "left", overflow="fold")
    redact = _redactor().redact_value
    for row in rows:
        table.add_row(*(_cell(redact(value)) for value in row))
    make_console().print(table)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    return escape(str(value))
