"""Tables and columns that somebody has dropped: the error names them, and a refresh heals."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import killing
import pytest

from loadsmith.engine.run import run_load
from loadsmith.errors import RunError
from loadsmith.model import LoadDefinition, RunRequest


class Orders:
    """A load whose rows are others in each run."""

    def __init__(self, folder: Path, dataset: str, destination: str, disposition: str) -> None:
        self.folder = folder
        self.dataset = dataset
        self.destination = destination
        self.disposition = disposition
        self.runs = 0

    def pipeline(self) -> Any:
        make: Callable[[], Any] = {
            "duckdb": lambda: dlt.destinations.duckdb(str(self.folder / "shop.duckdb")),
            "postgres": lambda: dlt.destinations.postgres(killing.POSTGRES),
            "filesystem": lambda: dlt.destinations.filesystem(str(self.folder / "files")),
        }[self.destination]
        return dlt.pipeline(
            "orders",
            destination=make(),
            dataset_name=self.dataset,
            pipelines_dir=str(self.folder / "pipelines"),
        )

    def load(self, **params: Any) -> None:
        self.runs += 1
        rows = [{"id": self.runs * 10 + n, "text": "a", "items": [{"k": n}]} for n in (1, 2)]
        definition = LoadDefinition(
            name="orders",
            source=lambda: dlt.resource(
                rows, name="orders", write_disposition=self.disposition, primary_key="id"
            ),
            pipeline=self.pipeline,
        )
        with run_load(definition, RunRequest(params=params)):
            pass

    def change(self, statement: str) -> None:
        with self.pipeline().sql_client() as client:
            client.execute_sql(statement.format(dataset=self.dataset))

    def count(self, table: str) -> int:
        with self.pipeline().sql_client() as client:
            return client.execute_sql(f"SELECT count(*) FROM {self.dataset}.{table}")[0][0]


DESTINATIONS = ["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.mark.parametrize(
    ("destination", "disposition"),
    [
        *(("duckdb", disposition) for disposition in ("append", "merge", "replace")),
        pytest.param("postgres", "append", marks=pytest.mark.postgres),
    ],
)
@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DROP TABLE {dataset}.orders", "The table 'orders' is not in"),
        ("DROP TABLE {dataset}.orders__items", "The table 'orders__items' is not in"),
        (
            "ALTER TABLE {dataset}.orders DROP COLUMN text",
            "The column 'text' of the table 'orders' is not in",
        ),
    ],
    ids=["root", "nested", "column"],
)
def test_what_was_dropped_is_named_and_a_refresh_makes_it_anew(
    make_shop, tmp_path, destination, disposition, statement, named
):
    orders = Orders(tmp_path, make_shop(destination).dataset, destination, disposition)
    orders.load()
    orders.change(statement)
    for _ in range(2):
        with pytest.raises(RunError, match=named) as caught:
            orders.load()
        assert "refresh: drop_resources" in str(caught.value)
    orders.load(refresh="drop_resources")
    assert (orders.count("orders"), orders.count("orders__items")) == (2, 2)
    orders.load()
    expected = 2 if disposition == "replace" else 4
    assert (orders.count("orders"), orders.count("orders__items")) == (expected, expected)


@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize("table", ["_dlt_loads", "_dlt_loadsmith_loads"])
def test_what_says_which_packages_are_loaded_is_not_made_anew(
    make_shop, tmp_path, destination, table
):
    orders = Orders(tmp_path, make_shop(destination).dataset, destination, "append")
    orders.load()
    orders.change(f"DROP TABLE {{dataset}}.{table}")
    with pytest.raises(RunError, match=f"The table '{table}' is not in") as caught:
        orders.load()
    assert "Restore it from a backup" in str(caught.value)


@pytest.mark.parametrize("folder", ["orders", "_dlt_loads", "_dlt_version", "_dlt_pipeline_state"])
def test_a_folder_that_was_removed_is_made_again(tmp_path, folder):
    orders = Orders(tmp_path, "raw", "filesystem", "append")
    orders.load()
    shutil.rmtree(tmp_path / "files" / "raw" / folder)
    orders.load()
    assert len(list((tmp_path / "files" / "raw" / "orders").glob("*.parquet"))) in (1, 2)
    assert orders.count("orders") == (2 if folder == "orders" else 4)
