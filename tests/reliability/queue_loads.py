"""What a run queue loads in the tests: partitions into DuckDB and into PostgreSQL."""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
from killing import Shop

from loadsmith.assets.decorator import dlt_assets
from loadsmith.assets.run import DagsterDltResource

ROWS = 20


def make_assets(destination: str, keys: Any) -> dg.AssetsDefinition:
    shop = Shop(
        Path(os.environ["QUEUE_LOADS"]),
        destination,
        os.environ["QUEUE_DATASET"],
        pipeline_name=f"into_{destination}",
    )

    @dlt.source(name="shop")
    def source(key: str) -> Any:
        first = int(key) * ROWS
        rows = [{"id": first + n, "items": [{"k": 0}, {"k": 1}]} for n in range(ROWS)]
        return dlt.resource(rows, name=f"of_{destination}", write_disposition="append")

    @dlt_assets(
        dlt_source=source("0"),
        dlt_pipeline=shop.make_pipeline,
        name=f"load_{destination}",
        partitions_def=keys,
        partitioned=True,
    )
    def load(context: dg.AssetExecutionContext, loads: DagsterDltResource) -> Any:
        yield from loads.run(context=context, dlt_source=source(context.partition_key))

    return load


keys = dg.StaticPartitionsDefinition([str(n) for n in range(int(os.environ["QUEUE_KEYS"]))])
assets = [make_assets(destination, keys) for destination in ("duckdb", "postgres")]

defs = dg.Definitions(
    assets=assets,
    jobs=[dg.define_asset_job("load_all", assets, executor_def=dg.in_process_executor)],
    resources={"loads": DagsterDltResource()},
)
