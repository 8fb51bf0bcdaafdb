"""Keep secrets out of what dlt stores of errors: its trace, and the files beside failed jobs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlt.pipeline import trace as dlt_trace

from loadsmith.engine.dlt_hooks.check import not_called


@contextmanager
def redacted_traces(redact: Callable[[Any], Any], warn: Callable[[str], None]) -> Iterator[None]:
    """Take secrets out of each step of a trace before dlt stores or sends it.

    `TRACKING_MODULES` is where dlt plugs in what looks at steps. Ours is called first, and dlt
    writes `trace.pickle` after all of them.

    Args:
        redact: Takes secrets out of a text, a list or a mapping.
        warn: Is told if that failed, so that the trace lacks what may have had secrets.
    """
    module = _RedactedSteps(redact)
    # Another thread may be going through the list, so it is replaced and not changed.
    dlt_trace.TRACKING_MODULES = [module, *dlt_trace.TRACKING_MODULES]
    try:
        yield
    finally:
        others = [other for other in dlt_trace.TRACKING_MODULES if other is not module]
        dlt_trace.TRACKING_MODULES = others
        if module.failure is not None:
            warn(
                "dlt's trace of this run lacks the errors, counts and settings of a step: secrets"
                f" could not be taken out of them ({module.failure}). Report this."
            )


@contextmanager
def asked_for_traces(pipeline: Any) -> Iterator[None]:
    """Check that dlt lets the traces of the step in the block be redacted.

    Raises:
        RunError: dlt did not ask for that.
    """
    # Those of loads in other threads are among them; a step is one of all.
    modules = [one for one in dlt_trace.TRACKING_MODULES if isinstance(one, _RedactedSteps)]
    before = [module.steps for module in modules]

    def is_asked() -> bool:
        now = [module.steps for module in modules]
        return not modules or now != before or not pipeline.config.enable_runtime_trace

    try:
        yield
    except BaseException:
        if not is_asked():
            # The trace has the error of the step, which may hold a secret.
            Path(pipeline.working_dir, dlt_trace.TRACE_FILE_NAME).unlink(missing_ok=True)
        raise
    if not is_asked():
        raise not_called("traces")


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
        self.steps = 0
        self.failure: str | None = None

    def on_end_trace_step(
        self, trace: Any, step: Any, _pipeline: Any, _step_info: Any, _send_state: bool
    ) -> None:
        """Replace the step that has just ended."""
        self.steps += 1
        try:
            self._redact_last(trace)
        except Exception as error:  # noqa: BLE001 - dlt would store the step as it is
            # Its text may have a secret.
            self.failure = type(error).__name__
            del trace.steps[-1:]
            trace.resolved_config_values.clear()
            # Its id, its name and when it began.
            trace.steps.append(type(step)(*step[:3]))

    def _redact_last(self, trace: Any) -> None:
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
