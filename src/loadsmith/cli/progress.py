"""Show the progress of a run on the terminal while it goes on."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

_SHOWN_LEVEL = 20
"""Python's INFO, the level of messages of loads; DEBUG is Dagster's bookkeeping."""


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Yield a listener for Dagster's events that shows the steps under way on standard error.

    On a terminal, each step has a line with a spinner, its time and its last message. Elsewhere a
    line is written when a step ends.
    """
    if quiet:
        yield lambda _event: None
    elif sys.stderr.isatty():
        with _live() as listen:
            yield listen
    else:
        yield _print_finished


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
            TextColumn("{task.fields[message]}", style="dim"),
            console=Console(file=terminal),
        )
        with progress:
            yield _listener(progress)


def _listener(progress: Any) -> Callable[[Any], None]:
    tasks: dict[str, Any] = {}

    def listen(entry: Any) -> None:
        event = entry.dagster_event
        step = entry.step_key
        if event is not None and event.is_step_start:
            tasks[step] = progress.add_task(step, total=1, message="")
        if step not in tasks:
            return
        if event is None:
            if entry.level >= _SHOWN_LEVEL:
                progress.update(tasks[step], message=_one_line(entry.user_message))
        elif event.is_step_success:
            progress.update(tasks[step], completed=1, message="")
        elif event.is_step_failure:
            progress.update(tasks[step], description=f"[red]✗ {step}", message="failed")
            progress.stop_task(tasks[step])

    return listen


def _print_finished(entry: Any) -> None:
    event = entry.dagster_event
    if event is None:
        if entry.level > _SHOWN_LEVEL:
            click.echo(_one_line(entry.user_message), err=True)
    elif event.is_step_success:
        seconds = event.step_success_data.duration_ms / 1000
        click.echo(f"{entry.step_key}: done in {seconds:.1f} s", err=True)
    elif event.is_step_failure:
        click.echo(f"{entry.step_key}: failed", err=True)


def _one_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[0][:200] if lines else ""
