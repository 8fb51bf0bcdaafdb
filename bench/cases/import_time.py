"""What `import loadsmith` adds to an empty process."""

import subprocess
import sys
from pathlib import Path
from time import perf_counter

from bench.case import LOADSMITH, Case, Measures, Promise, Variant

EMPTY = "empty process"
DAGSTER_AND_DLT = "import dagster, dlt"
_CODE = {
    LOADSMITH: "import loadsmith",
    EMPTY: "",
    DAGSTER_AND_DLT: "import dagster, dlt",
}


def run(variant: Variant, folder: Path) -> Measures:
    started = perf_counter()
    subprocess.run([sys.executable, "-c", _CODE[variant.tool]], check=True)
    return {"seconds": perf_counter() - started, "peak_mb": 0.0}


CASE = Case(
    title="`import loadsmith`",
    variants=[Variant(tool) for tool in _CODE],
    run=run,
    promises=[
        Promise(
            "an empty process and 0.05 s", Variant(LOADSMITH), [Variant(EMPTY)], 1.0, extra=0.05
        )
    ],
)
