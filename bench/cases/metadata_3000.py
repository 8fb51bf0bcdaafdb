"""Metadata of 3,000 tables in the run of a YAML project, row counts and schema changes on."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from bench import projects
from bench.case import LOADSMITH, Case, Measures, Promise, Variant

# What a run does for its report alone, by module.
TIMED = {
    "loadsmith.assets.run.report": (
        "materialization_metadata",
        "fetch_row_counts",
        "schema_change_result",
        "ResultIndex",
    )
}


def run(variant: Variant, folder: Path) -> Measures:
    from importlib import import_module

    from loadsmith.assets.run.report import Report

    assert variant.size is not None
    spent = [0.0]
    for module_name, names in TIMED.items():
        module = import_module(module_name)
        for name in names:
            setattr(module, name, _timed(getattr(module, name), spent))
    initialize = Report.__init__

    def with_row_counts(report: Report, *args: Any, **kwargs: Any) -> None:
        initialize(report, *args, **kwargs)
        report.fetches_row_counts = True

    Report.__init__ = with_row_counts
    started = perf_counter()
    projects.run_all(projects.build_yaml(folder, variant.size))
    return {"seconds": perf_counter() - started, "metadata": spent[0]}


def _timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        started = perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[0] += perf_counter() - started

    return timed


_ALL = Variant(LOADSMITH, 3000)

CASE = Case(
    title="Metadata of 3,000 tables, as a part of the run",
    variants=[_ALL],
    run=run,
    promises=[
        Promise("5 % of the run", _ALL, [_ALL], 0.05, measure="metadata", floor_measure="seconds")
    ],
)
