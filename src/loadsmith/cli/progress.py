"""Show the progress of a run on the terminal while it goes on."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loadsmith.cli.output import show_text, without_secrets

_SHOWN_LEVEL = 20
"""Python's INFO, the level of messages of loads; DEBUG is Dagster's bookkeeping."""

_WARNING_LEVEL = 30


@dataclass(kw_only=True)
class RunProgress:
    """What a run has said so far.

    Attributes:
        show: Shows an event or a message.
        warnings: The warnings, whole.
        is_shown: Whether they are on the terminal already.
    """

    show: Callable[[Any], None]
    is_shown: bool = True
    warnings: list[str] = field(default_factory=list)

    def listen(self, entry: Any) -> None:
        """Take an event of Dagster, or a message of its log."""
        if entry.dagster_event is None and entry.level >= _WARNING_LEVEL:
            self.warnings.append(_message(entry))
        self.show(entry)


@dataclass(frozen=True)
class _DltMessage:
    """A message of dlt's logger, with the attributes of a message of Dagster's log."""

    user_message: str
    level: int
    dagster_event: None = None
    step_key: None = None


class _DltMessages(logging.Handler):
    """Takes what dlt logs, which would write raw lines into the progress."""

    def __init__(self, progress: RunProgress) -> None:
        super().__init__(_WARNING_LEVEL)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Take a message."""
        self._progress.listen(_DltMessage(record.getMessage(), record.levelno))


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[RunProgress]:
    """Yield a listener for Dagster's events that shows the steps under way on standard error.

    On a terminal, each step has a line with a spinner, its time and its last message. Elsewhere
    each message is a line. Warnings stay, on a terminal too, and those of dlt are among them.
    """
    with _progress(quiet=quiet) as progress:
        # dlt takes the first handler of its logger, where there is one.
        logger = logging.getLogger("dlt")
        before, logger.handlers = logger.handlers, [_DltMessages(progress)]
        try:
            yield progress
        finally:
            logger.handlers = before


@contextmanager
def _progress(*, quiet: bool) -> Iterator[RunProgress]:
    if quiet:
        yield RunProgress(show=lambda _entry: None, is_shown=False)
    elif sys.stderr.isatty():
        with _live() as show:
            yield RunProgress(show=show)
    else:
        yield RunProgress(show=_print)


@contextmanager
def _live() -> Iterator[Callable[[Any], None]]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    # Dagster may redirect standard error to a file during a step, so the terminal gets a separate
    # descriptor.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal:
        progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", style="dim", markup=False),
            console=Console(file=terminal),
        )
        with progress:
            yield _live_listener(progress)


def _live_listener(progress: Any) -> Callable[[Any], None]:
    tasks: dict[str, Any] = {}

    def listen(entry: Any) -> None:
        event = entry.dagster_event
        step = entry.step_key
        if event is not None and event.is_step_start:
            tasks[step] = progress.add_task(step, total=1, message="")
        if event is None and entry.level >= _WARNING_LEVEL:
            progress.console.print(_as_warning(entry), markup=False, highlight=False)
        if step not in tasks:
            return
        if event is None:
            if entry.level == _SHOWN_LEVEL:
                progress.update(tasks[step], message=_message(entry).partition("\n")[0])
        elif event.is_step_success:
            progress.update(tasks[step], completed=1, message="")
        elif event.is_step_failure:
            progress.update(tasks[step], description=f"[red]✗ {step}", message="failed")
            progress.stop_task(tasks[step])

    return listen


def _print(entry: Any) -> None:
    event = entry.dagster_event
    if event is None:
        if entry.level >= _WARNING_LEVEL:
            show_text(_as_warning(entry))
        elif entry.level >= _SHOWN_LEVEL:
            show_text(_message(entry))
    elif event.is_step_success:
        seconds = event.step_success_data.duration_ms / 1000
        show_text(f"{entry.step_key}: done in {seconds:.1f} s")
    elif event.is_step_failure:
        show_text(f"{entry.step_key}: failed")


def _as_warning(entry: Any) -> str:
    return f"Warning: {_message(entry)}"


def _message(entry: Any) -> str:
    return without_secrets(str(entry.user_message or "").strip())
