"""Keep secrets out of what dlt stores of errors: its trace, and the files beside failed jobs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlt.pipeline import trace as dlt_trace


@contextmanager
def redacted_traces(redact: Callable[[Any], Any]) -> Iterator[None]:
    """Take secrets out of each step of a trace before dlt stores or sends it.

    `TRACKING_MODULES` is where dlt plugs in what looks at steps. Ours is called first, and dlt
    writes `trace.pickle` after all of them.

    Args:
        redact: Takes secrets out of a text, a list or a mapping.
    """
    module = _RedactedSteps(redact)
    # Another thread may be going through the list, so it is replaced and not changed.
    dlt_trace.TRACKING_MODULES = [module, *dlt_trace.TRACKING_MODULES]
    try:
        yield
    finally:
        others = [other for other in dlt_trace.TRACKING_MODULES if other is not module]
        dlt_trace.TRACKING_MODULES = others


def redact_job_files(pipeline: Any, redact: Callable[[str], str]) -> None:
    """Take secrets out of the files in which dlt keeps why a job was tried again."""
    for path in Path(pipeline.working_dir, "load").glob("*/*/**/*.exception"):
        text = path.read_text("utf-8")
        clean = redact(text)
        if clean != text:
            path.write_text(clean, "utf-8")


class _RedactedSteps:
    def __init__(self, redact: Callable[[Any], Any]) -> None:
        self._redact = redact

    def on_end_trace_step(
        self, trace: Any, _step: Any, _pipeline: Any, _step_info: Any, _send_state: bool
    ) -> None:
        """Replace the step that has just ended."""
        step = trace.steps[-1]
        for package in getattr(step.step_info, "load_packages", None) or ():
            for state, jobs in package.jobs.items():
                package.jobs[state] = [
                    job._replace(failed_message=self._redact(job.failed_message)) for job in jobs
                ]
        trace.steps[-1] = step._replace(
            step_exception=self._redact(step.step_exception),
            exception_traces=self._redact(step.exception_traces),
        )
        # These are settings that were not declared as secrets but may come from a secrets file.
        trace.resolved_config_values[:] = [
            setting._replace(
                value=self._redact(setting.value), default_value=self._redact(setting.default_value)
            )
            for setting in trace.resolved_config_values
        ]

    def on_start_trace(self, *_: Any) -> None:
        """Do nothing."""

    on_start_trace_step = on_end_trace = on_start_trace
