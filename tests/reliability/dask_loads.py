"""What Dask's workers load in the tests: a load whose resources have an op each."""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
from dagster_dask import dask_executor
from killing import Shop

from loadsmith.assets.build import build_load_definitions
from loadsmith.assets.define import live_definition, with_granularity

ROWS = 100
TABLES = ("one", "two", "three")


@dlt.source(name="shop")
def source() -> Any:
    return [
        dlt.resource(
            [{"id": n, "items": [{"k": 0}, {"k": 1}]} for n in range(ROWS)],
            name=name,
            write_disposition="append",
        )
        for name in TABLES
    ]


def make_job() -> dg.JobDefinition:
    shop = Shop(Path(os.environ["DASK_LOADS"]), "postgres", os.environ["DASK_DATASET"])
    definition = live_definition(source, shop.make_pipeline)
    loads = build_load_definitions([with_granularity(definition, "table")])
    executor = dask_executor.configured(
        {"cluster": {"local": {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}}}
    )
    job = dg.define_asset_job("shop_job", dg.AssetSelection.all(), executor_def=executor)
    return dg.Definitions.merge(loads, dg.Definitions(jobs=[job])).resolve_job_def("shop_job")
