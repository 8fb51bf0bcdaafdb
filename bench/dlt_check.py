"""Compare the installed dlt and Dagster with what loadsmith relies on in them.

    python -m bench.dlt_check --examples 500

Prints each hook with its functions, then compares records that are normalized by column with what
dlt makes of them (`bench.shapes`), also where a fingerprint is unknown; where a name is gone that
the comparison needs, it says which. A new fingerprint belongs into the list only when the
comparison and the tests pass.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

from loadsmith.assets import _dagster
from loadsmith.engine.dlt_hooks import HOOKS, Hook, differences_of_hook, names_read


def lines_of(hook: Hook) -> Iterator[str]:
    """Describe a hook: what it is for, and each of its names as it is and as it was tested."""
    differing = {difference.name: difference.actual for difference in differences_of_hook(hook)}
    yield f"{hook.name}: {hook.kind} of {hook.target}"
    yield f"  because {hook.reason}"
    if differing:
        yield f"  {hook.on_difference.upper()}: {hook.lost}"
    known = {**hook.uses, **dict.fromkeys(names_read(hook), "there")}
    for name, fingerprint in known.items():
        if name not in differing:
            yield f"    as tested  {name}"
        elif differing[name] is None:
            yield f"    ABSENT     {name}"
        else:
            yield f'    DIFFERS    "{name}": "{fingerprint} {differing[name]}",'


def main() -> int:
    """Print the list and compare; return 1 if a run would not start, or if records differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=500, help="random examples to compare")
    chosen = parser.parse_args()
    print(f"dlt {version('dlt')}, Dagster {version('dagster')}\n")
    hooks = (*HOOKS, *_dagster.HOOKS)
    for hook in hooks:
        print(*lines_of(hook), "", sep="\n")
    stopped = [
        hook.name for hook in hooks if hook.on_difference == "error" and differences_of_hook(hook)
    ]
    if stopped:
        print(f"A run does not start, because of: {', '.join(stopped)}\n")
    sys.stdout.flush()
    compared = subprocess.run(
        [sys.executable, "-m", "bench.shapes", "--examples", str(chosen.examples)],
        env={**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if compared.returncode:
        *_, last = ["", *compared.stderr.splitlines()]
        is_missing = last.startswith(("ImportError", "ModuleNotFoundError", "AttributeError"))
        print("Records cannot be compared:", last if is_missing else f"\n{compared.stderr}")
    return 1 if stopped or compared.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
