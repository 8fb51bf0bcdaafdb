"""Asks 16 and 20 to 23: what a run shows of what it did, and what it refused or left out."""

from typing import Any

import dagster as dg
import dlt
import pytest


def source_of(*resources: Any, name: str = "one") -> Any:
    @dlt.source(name=name)
    def one() -> Any:
        return resources

    return one()


def contracted(rows: Any, contract: Any, *, name: str = "strict", **hints: Any) -> Any:
    @dlt.resource(name=name, schema_contract=contract, **hints)
    def strict() -> Any:
        yield rows

    return strict


@pytest.mark.parametrize("nested_tables", [False, True])
def test_ask_22_a_nested_table_that_may_not_come_is_told_by_the_table_it_would_be_nested_in(
    shop: Any, nested_tables: bool
) -> None:
    rows = [{"id": 1}]
    other = dlt.resource([{"id": 1}], name="other")

    def assets() -> dg.AssetsDefinition:
        frozen = contracted(rows, {"tables": "freeze"})
        checks = ["schema_contract"]
        options = {"checks": checks, "nested_tables": nested_tables}
        return shop.assets(source_of(frozen, other), **options)

    # What a contract on tables forbids is a table that a known one brings.
    shop.run(shop.assets(source_of(contracted(rows, None), other)))
    rows[0] = {"id": 2, "lines": [{"n": 1, "parts": [{"m": 1}]}]}
    told = shop.run(assets(), fails=True)
    check = told.check("dlt_one_strict", "schema_contract")
    assert not check.passed
    assert check.metadata["table"].value == "strict__lines"
    assert len(told.result.get_asset_check_evaluations()) == 1
