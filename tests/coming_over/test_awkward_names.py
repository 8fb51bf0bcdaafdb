"""Names of resources that Dagster refuses in a key become those of their tables."""

import dlt
import duckdb
import pytest
from moved import decorated, in_component, in_factory, metadata_of, run

NAMES = {"Q1 2024": "q1_2024", "a/b": "a_b", "Größe": "gr_xf6_xdf_e", "plain-name": "plain-name"}
CODE = """
import dlt

@dlt.source
def shop():
    yield dlt.resource([{"id": 1, "lines": [{"sku": "a"}]}], name="Q1 2024")
    yield dlt.resource([{"id": 1}], name="a/b")
"""


@dlt.source
def shop(names=tuple(NAMES)):
    for name in names:
        yield dlt.resource([{"id": 1, "lines": [{"sku": "a"}]}], name=name)


def pipeline() -> dlt.Pipeline:
    destination = dlt.destinations.duckdb("awkward.duckdb")
    return dlt.pipeline("awkward", destination=destination, dataset_name="my data")


@pytest.mark.parametrize("door", ["decorator", "component", "factory", "files"])
def test_keys_come_from_tables_where_dagster_refuses_names(door, make_project) -> None:
    prefix = {
        "decorator": "dlt_shop_",
        "component": "my_data/",
        "factory": "my_data/raw/",
        "files": "shop/",
    }[door]
    if door == "files":
        params = {"destination": "duckdb", "destination_params": {"database": "awkward.duckdb"}}
        params["pipeline_params"] = {"dataset_name": "my data"}
        params["resources"] = names = ["Q1 2024", "a/b"]
        defs = make_project(CODE, params, key="shop/all")
    else:
        names = list(NAMES)
        make = {"decorator": decorated, "component": in_component, "factory": in_factory}[door]
        defs = make(shop(), pipeline())
    shown = metadata_of(run(defs))
    assert {f"{prefix}{expected(name)}" for name in names} <= set(shown)
    assert all(metadata["rows_loaded"] == 1 for metadata in shown.values())
    with duckdb.connect("awkward.duckdb") as connection:
        assert connection.execute("SELECT id FROM my_data.q1_2024").fetchall() == [(1,)]


def expected(name: str) -> str:
    known = dlt.Schema("x").naming.normalize_table_identifier(name)
    return name if name == "plain-name" else known
