"""Samples in; the table, the verdicts and the charts of `docs/performance.md` out."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from bench.case import NAMES, Case, Promise, Variant, load_case
from bench.chart import bars, lines

Samples = dict[str, dict[str, list[float]]]

BEGIN = "<!-- bench: begin -->"
END = "<!-- bench: end -->"
#: What a measure is shown in, and how many of that its own unit is.
_UNITS = {
    "peak_mb": ("MB at most", 1),
    "per_resource": ("ms for each resource", 1000),
    "metadata": ("seconds for metadata", 1),
}
STAGES = ("extract", "normalize", "load")


def print_case(name: str, samples: Samples) -> None:
    """Print what a case gave."""
    print("\n".join(_case_lines(name, samples)), flush=True)


def write_report(docs: Path, samples: Mapping[str, Samples]) -> None:
    """Write the part between the markers of performance.md, and the charts beside it."""
    page = docs / "performance.md"
    text = page.read_text() if page.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    lines_of_page = [
        (
            f"Medians, {os.cpu_count()} cores, Python {platform.python_version()}; "
            "the samples took turns, each in a process of its own."
        ),
        "",
    ]
    for name in filter(samples.__contains__, NAMES):
        lines_of_page += [*_case_lines(name, samples[name]), ""]
    lines_of_page += _charts(docs, samples)
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines_of_page) + f"\n{END}{after}")


def _case_lines(name: str, samples: Samples) -> list[str]:
    case = load_case(name)
    measure = case.promises[0].measure if case.promises else "seconds"
    unit, factor = _UNITS.get(measure, ("seconds", 1))
    lines_of_case = [
        f"### {case.title}",
        "",
        "| | " + " | ".join([unit, "from - to", "samples", *case.more.values()]) + " |",
        "|---" * (4 + len(case.more)) + "|",
    ]
    for variant in case.variants:
        values = samples.get(variant.name, {}).get(measure)
        if values:
            values = [value * factor for value in values]
            more = [median(samples[variant.name][name]) for name in case.more]
            lines_of_case.append(
                f"| {variant.name} | {median(values):.2f}"
                f" | {min(values):.2f} - {max(values):.2f} | {len(values)} |"
                + "".join(f" {value:.0f} |" for value in more)
            )
    verdicts = [verdict for promise in case.promises if (verdict := _verdict(promise, samples))]
    return [*lines_of_case, "", *verdicts]


def _verdict(promise: Promise, samples: Samples) -> str | None:
    ours = _median(samples, promise.ours, promise.measure)
    floors = [
        _median(samples, variant, promise.floor_measure or promise.measure)
        for variant in promise.floor
    ]
    if ours is None or None in floors:
        return None
    floor = sum(value for value in floors if value is not None) + promise.extra
    ratio = ours / floor
    word = "kept" if ratio <= promise.at_most else "**missed**"
    shown = f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"
    return f"- {promise.text}: {shown} of at most {promise.at_most:.2f}, {word}"


def _median(samples: Samples, variant: Variant, measure: str) -> float | None:
    values = samples.get(variant.name, {}).get(measure)
    return median(values) if values else None


def _charts(docs: Path, samples: Mapping[str, Samples]) -> list[str]:
    charts: list[str] = []
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    if found := samples.get("resources_t"):
        curves = _curves(load_case("resources_t"), found)
        image = images / "scaling.svg"
        image.write_text(lines("Seconds by number of resources, ten rows each", curves))
        charts += [f"![Seconds by number of resources](images/{image.name})", ""]
    stacks = {}
    for variant, measures in samples.get("nested_duckdb", {}).items():
        total = median(measures["seconds"])
        stages = {stage: median(measures[stage]) for stage in STAGES if stage in measures}
        stacks[variant] = {**stages, "other": max(0.0, total - sum(stages.values()))}
    if stacks:
        image = images / "stages.svg"
        image.write_text(bars("Seconds by stage, 100,000 nested records into DuckDB", stacks))
        charts += [f"![Seconds by stage](images/{image.name})", ""]
    return charts


def _curves(case: Case, samples: Samples) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = {}
    for variant in case.variants:
        value = _median(samples, variant, "seconds")
        if value is not None and variant.size is not None:
            curves.setdefault(variant.tool, []).append((variant.size, value))
    return curves
