"""What dlt keeps of errors in a working directory: in its trace, and beside the jobs."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dlt.pipeline.trace import save_trace


def redact_trace(pipeline: Any, redact: Callable[[Any], Any]) -> None:
    """Take secrets out of the errors that dlt keeps of its steps and jobs, here and in its files.

    Args:
        pipeline: The pipeline.
        redact: Takes them out of a text, a list or a mapping.
    """
    trace = pipeline._last_trace
    if trace is None:
        return
    packages = [
        package
        for step in trace.steps
        for package in getattr(step.step_info, "load_packages", None) or ()
    ]
    _redact_files(pipeline, [package.load_id for package in packages], redact)
    if not any(step.step_exception for step in trace.steps) and not any(
        map(_has_messages, packages)
    ):
        return
    for package in packages:
        for state, jobs in package.jobs.items():
            package.jobs[state] = [
                job._replace(failed_message=redact(job.failed_message)) for job in jobs
            ]
    steps = [
        step._replace(
            step_exception=redact(step.step_exception),
            exception_traces=redact(step.exception_traces),
        )
        for step in trace.steps
    ]
    pipeline._last_trace = trace._replace(steps=steps)
    if Path(pipeline.working_dir).is_dir():
        save_trace(pipeline.working_dir, pipeline._last_trace)


def _has_messages(package: Any) -> bool:
    return any(job.failed_message for jobs in package.jobs.values() for job in jobs)


def _redact_files(pipeline: Any, load_ids: Iterable[str], redact: Callable[[Any], Any]) -> None:
    """Take secrets out of the files in which dlt keeps why a job was tried again."""
    working_dir = Path(pipeline.working_dir)
    folders = {*working_dir.glob("load/normalized/*")}
    folders.update(working_dir / "load" / "loaded" / load_id for load_id in load_ids)
    for folder in folders:
        for path in folder.rglob("*.exception"):
            text = path.read_text("utf-8")
            clean = redact(text)
            if clean != text:
                path.write_text(clean, "utf-8")
