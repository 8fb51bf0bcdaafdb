"""One sample in one process: `python -m bench.sample CASE VARIANT FOLDER` prints JSON."""

import json
import os
import resource
import sys
from pathlib import Path


def main(case_name: str, variant_name: str, folder: str) -> None:
    """Run one variant of one case once."""
    from bench.case import load_case

    case = load_case(case_name)
    [variant] = [found for found in case.variants if found.name == variant_name]
    work = Path(folder)
    os.chdir(work)
    measures = dict(case.run(variant, work))
    times = os.times()
    # What a sample cost on a machine that had other things to do, its imports included.
    measures["cpu"] = times.user + times.system + times.children_user + times.children_system
    measures.setdefault("peak_mb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps(measures))


if __name__ == "__main__":
    main(*sys.argv[1:])
