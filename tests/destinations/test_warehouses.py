"""The same loads give the same rows in every warehouse that can be had without an account."""

import pytest

WAREHOUSES = (
    pytest.param("postgres", marks=pytest.mark.postgres),
    "sqlite",
    "mariadb",
    "files",
    "delta",
    "iceberg",
    "s3",
)


@pytest.mark.parametrize("shop", WAREHOUSES, indirect=True)
def test_two_days_are_appended_merged_and_replaced_with_their_nested_tables(shop):
    first = shop.load(day=1)
    assert shop.counts() == {
        "orders": 2,
        "orders__items": 4,
        "customers": 2,
        "prices": 3,
        "prices__tiers": 6,
    }
    second = shop.load(day=2)
    assert shop.counts() == {
        "orders": 4,
        "orders__items": 8,
        "customers": 3 if shop.warehouse.merges else 4,
        "prices": 2,
        "prices__tiers": 4,
    }
    for table, metadata in second.items():
        assert shop.warehouse.location(table).items() <= metadata.items()
    assert {table: metadata["rows_loaded"] for table, metadata in first.items()} == {
        "orders": 2,
        "orders__items": 4,
        "customers": 2,
        "prices": 3,
        "prices__tiers": 6,
    }
    if shop.warehouse.merges:
        names = {row["id"]: row["name"] for row in shop.warehouse.rows("customers")}
        assert names == {1: "name of day 1", 2: "name of day 2", 3: "name of day 2"}
