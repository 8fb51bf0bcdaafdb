"""A source of T resources through the doors that own their ops: time grows with T."""

from pathlib import Path
from time import perf_counter

from bench import projects
from bench.case import Case, Measures, Variant, growth

SIZES = (300, 3000)
DOORS = {
    "YAML project": projects.build_yaml,
    "factory": projects.build_factory,
    "component": projects.build_component,
}


def run(variant: Variant, folder: Path) -> Measures:
    import dagster
    import dlt

    assert dagster is not None
    assert dlt is not None
    assert variant.size is not None
    started = perf_counter()
    definitions = DOORS[variant.tool](folder, variant.size)
    defined = perf_counter()
    projects.run_all(definitions)
    ended = perf_counter()
    return {
        "seconds": ended - started,
        "per_resource": (ended - started) / variant.size,
        "define": defined - started,
    }


CASE = Case(
    title="T resources of ten rows through the YAML project, the factory and the component",
    variants=[Variant(door, size) for size in SIZES for door in DOORS],
    run=run,
    promises=growth(DOORS, SIZES, "time per resource at T=300", 1.10, "per_resource"),
)
