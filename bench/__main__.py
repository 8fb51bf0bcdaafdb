"""The command: `python -m bench`, `python -m bench --only nested_duckdb --samples 1`."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from time import perf_counter

from bench.case import NAMES, Variant, has_postgres, load_case
from bench.peer import peer_python
from bench.report import Samples, print_case, write_report

ROOT = Path(__file__).parent.parent
PEER = ROOT / ".bench" / "peer"
RESULTS = ROOT / ".bench" / "results.json"


def main() -> None:
    """Run the cases, interleaved, and write the page."""
    options = _options()
    names = [name for name in NAMES if not options.only or name in options.only]
    samples = _read_samples() if options.only else {}
    for name in names:
        samples.pop(name, None)
    for name in names:
        case = load_case(name)
        if case.needs_postgres and not has_postgres():
            print(f"{name}: left out, for no PostgreSQL answers", file=sys.stderr)
            continue
        samples[name] = _run_case(name, options)
        print_case(name, samples[name])
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(samples, indent=1))
    if not options.no_page:
        write_report(ROOT / "docs", samples)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=NAMES, help="a case; may be repeated")
    parser.add_argument("--samples", type=int, default=5, help="samples of each variant")
    parser.add_argument("--without-peer", action="store_true", help="leave dagster-dlt out")
    parser.add_argument("--size", type=int, action="append", help="only variants of this size")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md alone")
    parser.add_argument("--peer", type=Path, default=PEER, help="environment of dagster-dlt")
    return parser.parse_args()


def _run_case(name: str, options: argparse.Namespace) -> Samples:
    case = load_case(name)
    found: Samples = defaultdict(lambda: defaultdict(list))
    for _ in range(options.samples):
        # Interleaved, so that a machine that slows down slows all variants down.
        for variant in case.variants:
            if variant.is_peer and options.without_peer:
                continue
            if options.size and variant.size is not None and variant.size not in options.size:
                continue
            for measure, value in _sample(name, variant, options.peer).items():
                found[variant.name][measure].append(value)
    return found


def _sample(name: str, variant: Variant, peer: Path) -> dict[str, float]:
    python = peer_python(peer) if variant.is_peer else Path(sys.executable)
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        environment = {
            **os.environ,
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "PYTHONPATH": str(ROOT),
        }
        # Byte code belongs to an installed program, and writing it to none of the samples.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment.pop("DAGSTER_HOME", None)
        started = perf_counter()
        process = subprocess.run(
            [str(python), "-m", "bench.sample", name, variant.name, folder],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if process.returncode:
        print(process.stderr[-3000:], file=sys.stderr)
        print(f"{name}, {variant.name}: failed", file=sys.stderr)
        return {}
    measures: dict[str, float] = json.loads(process.stdout.strip().splitlines()[-1])
    measures["process"] = perf_counter() - started
    shown = measures["seconds"]
    print(f"{name}, {variant.name}: {shown:.2f} s", file=sys.stderr, flush=True)
    return measures


def _read_samples() -> dict[str, Samples]:
    if not RESULTS.exists():
        return {}
    read: dict[str, Samples] = json.loads(RESULTS.read_text())
    return read


if __name__ == "__main__":
    main()
