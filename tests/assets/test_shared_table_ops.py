"""Resources that share a table are loaded by one op, whatever the granularity."""

import dagster as dg
import dlt
import duckdb
import pytest

from loadsmith import DagsterDltFactory


@pytest.mark.parametrize("granularity", ["source", "component", "table"])
@pytest.mark.parametrize("disposition", ["append", "replace", "merge"])
def test_rows_of_all_resources_of_a_table_are_there(tmp_path, granularity, disposition):
    def resource(name: str, number: int, table: str):
        return dlt.resource(
            [{"id": number}],
            name=name,
            table_name=table,
            write_disposition=disposition,
            primary_key="id",
        )

    parts = [resource("s.a", 1, "both"), resource("s.c", 3, "own"), resource("s.b", 2, "both")]
    defs = DagsterDltFactory.build_definitions(
        parts,
        destination=dlt.destinations.duckdb(str(tmp_path / "shop.duckdb")),
        granularity=granularity,
    )
    ops = {assets.op.name for assets in defs.assets if isinstance(assets, dg.AssetsDefinition)}
    assert len(ops) == (1 if granularity == "source" else 2)
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process().success
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        (schema,) = connection.sql(
            "SELECT table_schema FROM information_schema.tables WHERE table_name = 'both'"
        ).fetchone()
        assert sorted(connection.sql(f"SELECT id FROM {schema}.both").fetchall()) == [(1,), (2,)]
