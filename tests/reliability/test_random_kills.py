"""Loads that are killed or stopped at random moments, and started again until they end well."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.long


@pytest.mark.parametrize("mode", [None, "--reload", "--stop", "--twice", "--celery"])
@pytest.mark.parametrize(
    "destination",
    ["duckdb", pytest.param("postgres", marks=pytest.mark.postgres), "filesystem", "mariadb"],
)
def test_loads_that_are_killed_at_random_moments_leave_each_row_once(destination, mode):
    command = [sys.executable, "-m", "bench.kills", "--destination", destination, "--trials", "4"]
    done = subprocess.run(
        [*command, *([mode] if mode else [])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " 0 wrong, 0 runs failed by themselves" in done.stdout, done.stdout
