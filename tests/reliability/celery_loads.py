"""What Celery's workers load in the tests: a shop, in a step that halts where it is told."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import killing
from dagster_celery import celery_executor
from killing import Shop

from loadsmith.assets.decorator import dlt_assets
from loadsmith.assets.run import DagsterDltResource

#: Seconds that a step halts at most.
PATIENCE = 120


def make_job() -> dg.JobDefinition:
    """Make the job; what it loads, and in which queue, is read in each process."""
    folder = Path(os.environ["CELERY_LOADS"])

    def shop() -> Shop:
        # A worker keeps the job from one run to the next.
        destination, dataset, _ = (folder / "shop").read_text().split()
        return Shop(folder, destination, dataset, machine=os.environ.get("MACHINE", "none"))

    def halt(point: str) -> None:
        try:
            # Only one step halts.
            (folder / f"halt at {point}").rename(folder / "halting")
        except FileNotFoundError:
            return
        (folder / "halting").write_text(str(os.getpid()))
        end = time.monotonic() + PATIENCE
        while not (folder / "go on").exists() and time.monotonic() < end:
            time.sleep(0.02)

    def make_source() -> Any:
        killing.with_points(halt)
        return killing.make_source(shop(), 0, halt)

    @dlt_assets(
        dlt_source=make_source,
        dlt_pipeline=lambda: shop().make_pipeline(),
        name="shop_load",
        op_tags={"dagster-celery/queue": (folder / "shop").read_text().split()[2]},
    )
    def shop_load(context: dg.AssetExecutionContext, loads: DagsterDltResource) -> Any:
        for event in loads.run(context=context):
            halt("first event")
            yield event

    urls = {"broker": os.environ["BROKER"], "backend": os.environ["RESULTS"]}
    return dg.Definitions(
        assets=[shop_load],
        jobs=[dg.define_asset_job("shop_job", [shop_load])],
        resources={"loads": DagsterDltResource()},
        executor=celery_executor.configured(urls),
    ).resolve_job_def("shop_job")


def run(name: str, parent: str | None = None) -> bool:
    """Make a run of the job, or one that follows another; the life of a process of a run."""
    with dg.DagsterInstance.get() as instance:
        options = {"reexecution_options": dg.ReexecutionOptions(parent)} if parent else {}
        with dg.execute_job(
            dg.reconstructable(make_job), instance, tags={"name": name}, **options
        ) as result:
            return result.success


if __name__ == "__main__":
    # By its name, workers find the job again.
    import celery_loads

    sys.exit(0 if celery_loads.run(*sys.argv[1:]) else 1)
