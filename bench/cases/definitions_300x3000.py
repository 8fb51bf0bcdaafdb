"""Defining a YAML project of 300 assets and 3,000 tables, the process and its imports included."""

import subprocess
import sys
from pathlib import Path
from time import perf_counter

from bench import projects
from bench.case import LOADSMITH, Case, Measures, Promise, Variant

FLOOR = "Dagster, libyaml and the specs"

_OURS = """
import sys
from loadsmith import build_definitions
definitions = build_definitions({config!r})
assert len(list(definitions.resolve_all_asset_specs())) >= 3000
assert "dlt" not in sys.modules
"""

# The same files, the same keys and columns, as many outputs of an op.
_FLOOR = """
from pathlib import Path
import dagster as dg
import yaml

specs = []
for file in sorted(Path({export!r}).glob("*.yaml")):
    schema = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    name = file.name.split(".")[0]
    for table, settings in schema["tables"].items():
        columns = [
            dg.TableColumn(column, hints["data_type"])
            for column, hints in settings["columns"].items()
        ]
        specs.append(
            dg.AssetSpec(
                [name, table],
                deps=[name],
                kinds={{"dlt", "duckdb"}},
                metadata={{"dagster/column_schema": dg.TableSchema(columns)}},
            )
        )

def build(number, part):
    @dg.multi_asset(specs=part, name=f"op_{{number}}", can_subset=True)
    def assets(context):
        yield from ()
    return assets

# One op for each load.
ops = {{}}
for spec in specs:
    ops.setdefault(spec.key.path[0], []).append(spec)
definitions = dg.Definitions([build(number, part) for number, part in enumerate(ops.values())])
assert len(list(definitions.resolve_all_asset_specs())) >= 3000
"""


def run(variant: Variant, folder: Path) -> Measures:
    config = projects.write_project(folder, sources=30, resources=10, tables=10)
    export = folder / "dlt_project" / "schemas" / "export"
    code = _OURS if variant.tool == LOADSMITH else _FLOOR
    started = perf_counter()
    subprocess.run(
        [sys.executable, "-c", code.format(config=str(config), export=str(export))], check=True
    )
    return {"seconds": perf_counter() - started}


CASE = Case(
    title="Defining a YAML project of 300 assets and 3,000 tables",
    variants=[Variant(LOADSMITH), Variant(FLOOR)],
    run=run,
    promises=[Promise("the floor", Variant(LOADSMITH), [Variant(FLOOR)], 1.25)],
)
