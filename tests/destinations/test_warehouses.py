"""The same loads give the same rows in every warehouse that can be had without an account."""

import contextlib
import logging

import pytest

from loadsmith.engine.run import run_load
from loadsmith.model import RunRequest

WAREHOUSES = (
    pytest.param("postgres", marks=pytest.mark.postgres),
    "sqlite",
    "mariadb",
    "files",
    "delta",
    "iceberg",
    "s3",
    "s3_delta",
    "s3_iceberg",
)


DAY_1 = {"orders": 2, "orders__items": 4, "customers": 2, "prices": 3, "prices__tiers": 6}


def two_days(shop):
    return {
        "orders": 4,
        "orders__items": 8,
        "customers": 3 if shop.warehouse.merges else 4,
        "prices": 2,
        "prices__tiers": 4,
    }


@pytest.fixture(autouse=True)
def quiet_server():
    logging.getLogger("werkzeug").setLevel(logging.WARNING)


@pytest.mark.parametrize("shop", WAREHOUSES, indirect=True)
def test_two_days_are_appended_merged_and_replaced_with_their_nested_tables(shop):
    first = shop.load(day=1)
    assert shop.counts() == DAY_1
    second = shop.load(day=2)
    assert shop.counts() == two_days(shop)
    for table, metadata in second.items():
        assert shop.warehouse.location(table).items() <= metadata.items()
    assert {table: metadata["rows_loaded"] for table, metadata in first.items()} == DAY_1
    if shop.warehouse.merges:
        names = {row["id"]: row["name"] for row in shop.warehouse.rows("customers")}
        assert names == {1: "name of day 1", 2: "name of day 2", 3: "name of day 2"}


class Died(BaseException):
    """Stands for the end of the process."""


def die_after_loading(shop, day):
    definition = shop.definition(day)
    with contextlib.suppress(Died), run_load(definition, RunRequest(run_id="dead")):
        raise Died


@pytest.mark.parametrize("shop", WAREHOUSES, indirect=True)
def test_rows_of_a_load_that_died_are_there_once(shop):
    die_after_loading(shop, day=1)
    metadata = shop.load(day=1)
    assert shop.counts() == DAY_1
    assert metadata["orders"]["recovered_load_ids"]

    die_after_loading(shop, day=2)
    shop.warehouse.forget_commits()
    shop.load(day=2)
    assert shop.counts() == two_days(shop)


@pytest.mark.parametrize("shop", ["s3_iceberg"], indirect=True)
def test_a_load_warns_of_iceberg_tables_in_a_bucket_that_no_shared_catalog_knows(shop):
    told = []
    with run_load(shop.definition(day=1), RunRequest(run_id="one", warn=told.append)):
        pass
    [line] = [line for line in told if "Iceberg" in line]
    assert "no catalog that others share" in line
    assert "`[iceberg_catalog]`" in line
