"""The one place for private or version-dependent names of Dagster, with the list of them."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster._config import validate_config
from dagster._core.executor.child_process_executor import _execute_command_in_child_process
from dagster._utils.schedules import is_valid_cron_schedule

from loadsmith.engine.dlt_hooks import Hook, differences_of_hook

_CHECKS = "dagster._core.definitions.asset_checks.asset_check_factories.freshness_checks"

#: What this module relies on in Dagster; the fingerprints are those of 1.13.20 to 1.13.29.
HOOKS = (
    Hook(
        name="steps without a run",
        target="dagster._core.executor.child_process_executor:_execute_command_in_child_process",
        kind="call",
        reason="Dagster has no public way to tell whether a process is that of a step",
        on_difference="warning",
        lost="A step whose run has lost its process may go on beside the next run",
        uses={
            "dagster._core.executor.child_process_executor:_execute_command_in_child_process": (
                "030cee0dede3"
            ),
            "dagster._core.executor.child_process_executor:execute_child_process_command": (
                "e8c67f193655"
            ),
        },
    ),
    Hook(
        name="cron schedules",
        target="dagster._utils.schedules:is_valid_cron_schedule",
        kind="call",
        reason="Dagster has no public name for what it takes as a cron schedule",
        on_difference="warning",
        lost="A wrong cron schedule may be reported by Dagster, without file and line",
        uses={"dagster._utils.schedules:is_valid_cron_schedule": "352a5f0326bd"},
    ),
    Hook(
        name="configuration of executors",
        target="dagster._config:validate_config",
        kind="call",
        reason="Dagster has no public way to look at a configuration without the environment",
        on_difference="warning",
        lost="A wrong configuration of an executor may be told by runs alone",
        uses={"dagster._config.validate:validate_config": "85cd982d4010"},
    ),
    Hook(
        name="freshness checks",
        target=f"{_CHECKS}.last_update:build_last_update_freshness_checks",
        kind="call",
        reason="the successors of these functions build no asset checks",
        on_difference="warning",
        lost="Freshness checks may not be evaluated",
        uses={
            f"{_CHECKS}.last_update:build_last_update_freshness_checks": "e396b102580b",
            f"{_CHECKS}.sensor:build_sensor_for_freshness_checks": "029da0cf787e",
        },
    ),
)

#: Seconds between two looks whether the process of a run is there.
_WATCH_SECONDS = 1.0


def differences() -> list[str]:
    """Return what differs in the installed Dagster from the tested versions, and what is lost."""
    return [str(found[0]) for hook in HOOKS if (found := differences_of_hook(hook))]


def is_cron(text: str) -> bool:
    """Tell whether Dagster takes `text` as a cron schedule."""
    return is_valid_cron_schedule(text)


def config_mistakes(executor: dg.ExecutorDefinition, config: dict[str, Any]) -> list[str]:
    """Return what is wrong in the configuration of an executor; the environment is not read."""
    found = validate_config(executor.config_schema.config_type, config)
    return [error.message for error in found.errors or ()]


def build_freshness_checks(
    keys: Sequence[dg.AssetKey], seconds: float
) -> list[dg.AssetChecksDefinition]:
    """Build checks that fail when a key was not updated for so many seconds.

    Dagster names freshness policies as their successor; those are no asset checks and show in
    another place, so the promise of a real check is kept with this function.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(
            dg.build_last_update_freshness_checks(
                assets=list(keys), lower_bound_delta=timedelta(seconds=seconds)
            )
        )


def build_freshness_sensor(
    checks: Sequence[dg.AssetChecksDefinition], name: str
) -> dg.SensorDefinition:
    """Build the sensor that evaluates freshness checks when they are due."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dg.build_sensor_for_freshness_checks(freshness_checks=checks, name=name)


def op_config_of(context: Any) -> dict[str, Any]:
    """Return the run configuration of the op of a context; empty where it takes none."""
    op_context = getattr(context, "op_execution_context", context)
    config = op_context.op_config
    return dict(config) if isinstance(config, dict) else {}


@contextmanager
def ended_with_run() -> Iterator[None]:
    """Interrupt the block, as a cancellation would, when the run has lost its own process.

    Nobody would end the process of a step then: Dagster counts the run as failed, and it may be
    run again. The process of a run, though, outlives that of the code location.
    """
    parent = multiprocessing.parent_process()
    target = getattr(multiprocessing.current_process(), "_target", None)
    if parent is None or target is not _execute_command_in_child_process:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_WATCH_SECONDS):
            if not parent.is_alive():
                os.kill(os.getpid(), signal.SIGINT)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
