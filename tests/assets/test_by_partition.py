"""A function of the partition makes source and pipeline: each has credentials of its own."""

import dagster as dg
import dlt
import duckdb
import pytest

from loadsmith import DagsterDltResource, dlt_assets
from loadsmith.errors import ConfigError

TOKENS = {"acme": "s3cr3t-acme", "bolt": "s3cr3t-bolt"}
CUSTOMERS = dg.StaticPartitionsDefinition(list(TOKENS))


def source_of(token):
    @dlt.source(name="crm")
    def crm():
        return dlt.resource([{"length": len(token), "last": token[-4:]}], name="contacts")

    return crm()


def test_each_partition_has_the_source_and_the_database_of_its_own(tmp_path):
    asked = []

    def source(partition_key):
        asked.append(partition_key)
        return source_of(TOKENS[partition_key])

    def pipeline(partition_key):
        return dlt.pipeline(
            "crm",
            destination=dlt.destinations.duckdb(str(tmp_path / f"{partition_key}.duckdb")),
            dataset_name="raw",
            pipelines_dir=str(tmp_path / "pipelines"),
        )

    @dlt_assets(dlt_source=source, dlt_pipeline=pipeline, partitions_def=CUSTOMERS)
    def crm(context: dg.AssetExecutionContext, loads: DagsterDltResource):
        yield from loads.run(context=context)

    assert asked == ["acme"]
    assert crm.backfill_policy == dg.BackfillPolicy.multi_run(1)
    for key in reversed(TOKENS):
        resources = {"loads": DagsterDltResource()}
        assert dg.materialize([crm], partition_key=key, resources=resources).success
        with duckdb.connect(str(tmp_path / f"{key}.duckdb"), read_only=True) as connection:
            assert connection.sql("SELECT last FROM raw.contacts").fetchall() == [(key,)]


def test_a_function_of_the_partition_needs_partitions():
    with pytest.raises(ConfigError, match="`partition_key` needs `partitions_def`"):
        dlt_assets(
            dlt_source=lambda partition_key: source_of(TOKENS[partition_key]),
            dlt_pipeline=lambda: dlt.pipeline("crm", destination="duckdb"),
        )
