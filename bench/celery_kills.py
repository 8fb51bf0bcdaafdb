"""The mode `--celery` of `bench.kills`: steps on Celery's workers, terminated at random moments.

The runs, the steps and the workers are processes; what is ended in a trial is one of them.
"""

import importlib.util
import json
import os
import random
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
import dlt

from bench.kills import PATIENCE, POSTGRES, Trial, make_source, problems_of
from loadsmith.assets.decorator import dlt_assets
from loadsmith.assets.run import DagsterDltResource

EXAMPLE = Path(__file__).parents[1] / "examples" / "distributed"

#: What is ended: a run as by the button "Terminate", the process of a run, that of a step.
ENDS = ("terminate", "run killed", "step killed")

BROKER = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/13")


def make_job() -> dg.JobDefinition:
    """Make the job that workers run; which trial it is of is read in each step."""
    from dagster_celery import celery_executor

    def trial() -> Trial:
        told = json.loads(Path(os.environ["KILLS_TRIAL"]).read_text())
        return Trial(**{**told, "folder": Path(told["folder"])})

    @dlt_assets(
        dlt_source=lambda: make_source(trial(), 0)(),
        dlt_pipeline=lambda: dlt.pipeline(
            "kills",
            destination=trial().make_destination(),
            dataset_name=trial().dataset,
            pipelines_dir=str(trial().folder / os.environ.get("MACHINE", "none")),
        ),
        name="load",
        op_tags={"dagster-celery/queue": os.environ["KILLS_QUEUE"]},
    )
    def load(context: dg.AssetExecutionContext, loads: DagsterDltResource) -> Any:
        yield from loads.run(context=context)

    urls = {"broker": os.environ["BROKER"], "backend": os.environ["RESULTS"]}
    return dg.Definitions(
        assets=[load],
        jobs=[dg.define_asset_job("load_job", [load])],
        resources={"loads": DagsterDltResource()},
        executor=celery_executor.configured(urls),
    ).resolve_job_def("load_job")


def run(name: str, parent: str | None = None) -> bool:
    """Make a run, or one that follows another; the life of a process."""
    with dg.DagsterInstance.get() as instance:
        options = {"reexecution_options": dg.ReexecutionOptions(parent)} if parent else {}
        job = dg.reconstructable(make_job)
        with dg.execute_job(job, instance, tags={"name": name}, **options) as result:
            return result.success


@contextmanager
def cluster_of(folder: Path) -> Iterator[Any]:
    """Start two workers; end them, and drop the database of their runs."""
    spec = importlib.util.spec_from_file_location("cluster", EXAMPLE / "cluster.py")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    queue = f"kills_{uuid.uuid4().hex[:10]}"
    storage = f"{POSTGRES.rpartition('/')[0]}/{queue}"
    own = {
        "BROKER": BROKER,
        "RESULTS": BROKER,
        "DAGSTER_STORAGE": storage,
        "KILLS_QUEUE": queue,
        "KILLS_TRIAL": str(folder / "trial.json"),
    }
    os.environ.update(own)
    cluster = module.Cluster(EXAMPLE, folder / "cluster", **own)
    path = [str(EXAMPLE.parents[1]), cluster.environment["PYTHONPATH"]]
    cluster.environment["PYTHONPATH"] = os.pathsep.join(path)
    cluster.prepare()
    try:
        for name in module.WORKERS:
            cluster.environment["MACHINE"] = name
            cluster.start_worker(name, queue)
        cluster.wait_for_workers(len(module.WORKERS))
        yield cluster
    finally:
        cluster.down()
        cluster.in_storage("DROP DATABASE")


def run_on_celery(
    cluster: Any, trial: Trial, chance: random.Random, *, kills: int, longest: float
) -> tuple[Counter[str], int, str]:
    """Run one trial with `--celery`; see `bench.kills.run_trial`."""
    from celery import Celery

    Path(os.environ["KILLS_TRIAL"]).write_text(json.dumps(asdict(trial), default=str))
    killed: Counter[str] = Counter()
    failed = 0
    parent: str | None = None
    end = time.monotonic() + PATIENCE
    with (
        dg.DagsterInstance.from_config(cluster.environment["DAGSTER_HOME"]) as instance,
        Celery(broker=BROKER) as app,
    ):

        def found(name: str) -> dg.DagsterRun | None:
            runs = instance.get_runs(dg.RunsFilter(tags={"name": name}))
            return runs[0] if runs else None

        def steps() -> list[dict[str, Any]]:
            answers = app.control.inspect(timeout=2).active() or {}
            return [task for tasks in answers.values() for task in tasks]

        left = kills
        while True:
            name = uuid.uuid4().hex
            arguments = [name, *filter(None, [parent])]
            process = cluster.start("run", "python", "-m", "bench.celery_kills", *arguments)
            # Dagster's storage tells nobody of a new run, so it is asked again and again.
            while found(name) is None and cluster.is_running(process):
                time.sleep(0.05)
            if left:
                # The random moment of the kill.
                time.sleep(chance.uniform(0, longest))
                what = chance.choice(ENDS)
                if cluster.is_running(process):
                    left -= 1
                    killed[what] += _end(what, process, found(name), instance, steps)
            # It is asked again until the time of the trial is over.
            while cluster.is_running(process):
                if time.monotonic() > end:
                    return killed, failed, "it does not end"
                time.sleep(0.05)
            ended = found(name)
            if ended is not None and has_ended_well(instance, ended.run_id):
                break
            failed += ended is not None and ended.status == dg.DagsterRunStatus.FAILURE
            parent = ended.run_id if ended else parent
        # What was given up goes on, and is to change nothing.
        # Such a step is no child of this process, which therefore cannot wait for its end.
        while steps():
            if time.monotonic() > end:
                return killed, failed, "a step does not end"
            time.sleep(0.2)
    return killed, failed - killed["run killed"], problems_of(trial)


def has_ended_well(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Tell whether the step of a run has succeeded before the run ended: it is not made again."""
    end = instance.get_run_record_by_id(run_id).end_time
    done = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    return any(end is None or log.timestamp <= end for log in done)


def _end(
    what: str, process: int, run: dg.DagsterRun | None, instance: dg.DagsterInstance, steps: Any
) -> int:
    """End a process of a run; return how many were ended."""
    if what == "step killed":
        found = steps()
        return sum(_kill(task["worker_pid"], signal.SIGKILL) for task in found)
    if what == "terminate":
        _kill(process, signal.SIGINT)
        if run is not None:
            instance.report_run_canceled(run)
    _kill(process, signal.SIGKILL)
    if what == "run killed" and run is not None:
        # Dagster's monitoring does so.
        instance.report_run_failed(run)
    return 1


def _kill(process: int, number: int) -> bool:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    # By its name, workers find the job again.
    from bench import celery_kills

    sys.exit(0 if celery_kills.run(*sys.argv[1:]) else 1)
