"""What a load would change or lose on the day of the move stays as it is."""

from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from moved import decorated, in_component, in_factory, metadata_of, run

LINES = [{"id": 1, "lines": [{"sku": "a"}]}]

CODE = """
import dlt

@dlt.source
def shop():
    return dlt.resource([{"id": 1, "lines": [{"sku": "a"}]}], name="orders")
"""


@dlt.source
def shop():
    return dlt.resource(LINES, name="orders", write_disposition="append")


def lake_of(folder: Path, **options: Any) -> dlt.Pipeline:
    destination = dlt.destinations.filesystem(folder.as_uri(), **options)
    return dlt.pipeline("lake", destination=destination, dataset_name="web")


def files_in(folder: Path) -> set[str]:
    """Return the table and the format of each file of a lake."""
    return {
        f"{path.parent.name} {path.name.split('.', 3)[3]}"
        for path in (folder / "web").glob("orders*/*")
    }


@pytest.mark.parametrize(
    ("door", "before"),
    [
        ("decorator", "jsonl"),
        ("component", "jsonl"),
        ("factory", "jsonl"),
        ("files", "jsonl"),
        ("decorator", "csv"),
        ("decorator", "parquet"),
        ("decorator", None),
    ],
)
def test_files_of_a_lake_keep_their_format(door, before, tmp_path, make_project) -> None:
    lake = tmp_path / "lake"
    if before:
        dlt.pipeline("before", destination=lake_of(lake).destination, dataset_name="web").run(
            shop(), loader_file_format=before
        )
    known = files_in(lake)
    if door == "files":
        defs = make_project(
            CODE,
            {
                "destination": "filesystem",
                "destination_params": {"bucket_url": str(lake)},
                "pipeline_params": {"dataset_name": "web"},
            },
        )
    else:
        make = {"decorator": decorated, "component": in_component, "factory": in_factory}[door]
        defs = make(shop(), lake_of(lake))
    run(defs)
    assert files_in(lake) == (known or {"orders parquet", "orders__lines parquet"})
    reader = lake_of(lake)
    reader.sync_destination()
    for table in ("orders", "orders__lines"):
        assert len(reader.dataset()[table].fetchall()) == (2 if before else 1)


def test_a_format_that_is_asked_for_wins_over_the_files_that_are_there(tmp_path) -> None:
    lake = tmp_path / "lake"
    lake_of(lake).run(shop())
    source = shop()
    source.orders.apply_hints(file_format="parquet")
    run(decorated(source, lake_of(lake)))
    assert files_in(lake) > {"orders jsonl.gz", "orders parquet"}


@pytest.mark.parametrize("door", ["decorator", "component", "factory"])
def test_a_dataset_that_is_given_to_the_destination_is_the_one_that_is_shown(door) -> None:
    destination = dlt.destinations.duckdb("own.duckdb", dataset_name="real")
    make = {"decorator": decorated, "component": in_component, "factory": in_factory}[door]
    defs = make(shop(), dlt.pipeline("own", destination=destination, dataset_name="said"))
    (spec,) = (spec for spec in defs.resolve_all_asset_specs() if "dlt" in spec.kinds)
    assert spec.metadata["dataset_name"] == "real"
    # The key is the one that it has in dagster-dlt.
    keys = {
        "decorator": "dlt_shop_orders",
        "component": "said/orders",
        "factory": "said/raw/orders",
    }
    assert spec.key.to_user_string() == keys[door]
    shown = metadata_of(run(defs))[keys[door]]
    assert shown["dataset_name"] == "real"
    assert shown["dagster/table_name"] == "real.orders"
    with duckdb.connect("own.duckdb") as connection:
        assert connection.execute("SELECT id FROM real.orders").fetchall() == [(1,)]


def test_a_profile_moves_a_dataset_that_is_given_to_the_destination(monkeypatch) -> None:
    monkeypatch.setenv("LOADSMITH_PROFILE", "dev")
    destination = dlt.destinations.duckdb("own.duckdb", dataset_name="real")
    pipeline = dlt.pipeline("own", destination=destination, dataset_name="said")
    run(
        in_component(
            shop(), pipeline, profiles={"dev": {"pipeline_params": {"dataset_name": "mine"}}}
        )
    )
    with duckdb.connect("own.duckdb") as connection:
        schemas = connection.execute(
            "SELECT schema_name FROM information_schema.schemata"
        ).fetchall()
    assert ("mine",) in schemas
    assert ("real",) not in schemas
