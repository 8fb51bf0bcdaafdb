"""Partitions that Dagster's daemon takes from its queue, several at once, are each there once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from watching import wait_until

SETTINGS = """
telemetry: {enabled: false}
run_queue: {max_concurrent_runs: 4, dequeue_interval_seconds: 1}
"""

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.long)])
def test_partitions_from_the_run_queue_are_each_there_once(make_shop, tmp_path, count):
    shop = make_shop("postgres")
    rows = 20
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text(SETTINGS)
    folder = Path(__file__).parent
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "QUEUE_LOADS": str(tmp_path),
        "QUEUE_DATASET": shop.dataset,
        "QUEUE_KEYS": str(count),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))),
    }
    target = ["-f", str(folder / "queue_loads.py")]

    def command(name: str, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name(name)), *arguments, *target]

    keys = ",".join(str(n) for n in range(count))
    backfill = ["job", "backfill", "-j", "load_all", "--partitions", keys, "--noprompt"]
    with (tmp_path / "daemon.log").open("w") as log:
        subprocess.run(command("dagster", *backfill), env=environment, stdout=log, check=True)
        daemon = subprocess.Popen(
            command("dagster-daemon", "run"),
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:

            def ended() -> bool:
                assert daemon.poll() is None, (tmp_path / "daemon.log").read_text()[-3000:]
                runs = instance.get_runs()
                return len(runs) == count and all(run.is_finished for run in runs)

            wait_until(ended, "the end of all runs", 60 * count)
            failed = [run.run_id for run in instance.get_runs() if not run.is_success]
            assert failed == [], [entry.message for entry in instance.all_logs(failed[0])][-5:]
    finally:
        os.killpg(daemon.pid, signal.SIGINT)
        daemon.wait(60)
    for destination in ("duckdb", "postgres"):
        own = type(shop)(tmp_path, destination, shop.dataset)
        ids = [key for (key,) in own.read(f"of_{destination}", "id")]
        assert ids == list(range(rows * count))
        assert len(own.read(f"of_{destination}__items", "k")) == 2 * rows * count
