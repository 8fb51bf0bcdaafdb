"""Asks 16 and 20 to 23: what a run shows of what it did, and what it refused or left out."""

from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import pyarrow
import pytest

from loadsmith import DagsterDltResource, build_definitions, dlt_assets
from loadsmith.assets.define import live_definition
from loadsmith.engine.normalizing import arrow_normalizer
from loadsmith.engine.workspace import fetch_cursors, reset_cursors
from loadsmith.errors import ConfigError
from loadsmith.model import RunRequest


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


@pytest.mark.parametrize("normalizer", ["dlt", "arrow"])
@pytest.mark.parametrize(
    ("contract", "change", "expected", "loaded"),
    [
        ({"columns": "discard_row"}, {"more": "x"}, 4, 6),
        ({"columns": "discard_row"}, {"id": 11}, 0, 10),
        ({"data_type": "discard_row"}, {"id": "a"}, 4, 6),
        ({"columns": "discard_row"}, {"more": None}, 0, 10),
    ],
)
def test_ask_22_rows_that_a_contract_discards_are_counted(
    shop: Any, normalizer: str, contract: Any, change: Any, expected: int, loaded: int
) -> None:
    rows: list[dict[str, Any]] = [{"id": number} for number in range(10)]
    other = dlt.resource([{"id": 1}], name="other")

    def assets() -> dg.AssetsDefinition:
        kept = contracted(rows, contract, write_disposition="replace")
        return shop.assets(source_of(kept, other), checks=["schema_contract"])

    shop.run(shop.assets(source_of(contracted(rows, None), other)))
    for number in (1, 4, 5, 9):
        rows[number] = {**rows[number], **change}
    with arrow_normalizer(normalizer == "arrow"):
        told = shop.run(assets())
    check = told.check("dlt_one_strict", "schema_contract")
    assert told.events["dlt_one_strict"].get("discarded") == ({"strict": 4} if expected else None)
    assert check.passed is not bool(expected)
    assert told.check("dlt_one_other", "schema_contract").passed
    if expected:
        assert check.severity == dg.AssetCheckSeverity.WARN
        assert check.description == "The contract discarded 4 rows (strict: 4)."
        assert check.metadata["discarded_rows"].value == 4
    assert shop.rows("SELECT count(*) FROM ds.strict") == [(loaded,)]


NESTED = {"lines": [{"n": 1}, {"n": 2}]}


@pytest.mark.parametrize(
    ("contract", "row", "other", "counted", "loaded"),
    [
        ({"columns": "discard_value"}, {}, {"more": "x"}, 0, 2),
        ({"data_type": "discard_value"}, {}, {"id": "a"}, 0, 2),
        ({"tables": "discard_row"}, {}, NESTED, 0, 2),
        ({"columns": "discard_row"}, NESTED, {"lines": [{"n": 1, "more": "x"}]}, 0, 2),
        # A row goes with what is nested in it.
        ({"columns": "discard_row"}, NESTED, {**NESTED, "more": "x"}, 1, 1),
        ("discard_row", {}, {"more": "x"}, 1, 1),
    ],
)
def test_ask_22_the_check_does_not_pass_where_a_discard_is_not_counted(
    shop: Any, contract: Any, row: Any, other: Any, counted: int, loaded: int
) -> None:
    rows: list[dict[str, Any]] = [{"id": 1, **row}, {"id": 2, **row}]

    def assets(mode: Any) -> dg.AssetsDefinition:
        kept = contracted(rows, mode, write_disposition="replace")
        return shop.assets(source_of(kept), checks=["schema_contract"])

    shop.run(assets(None))
    rows[1] = {**rows[1], **other}
    check = shop.run(assets(contract)).check("dlt_one_strict", "schema_contract")
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert "Not counted" in check.description
    assert ("discarded 1 rows (strict: 1)" in check.description) is bool(counted)
    assert shop.rows("SELECT count(*) FROM ds.strict") == [(loaded,)]


@pytest.mark.parametrize(("mode", "loaded"), [("discard_row", 3), ("discard_value", 6)])
def test_ask_22_the_check_does_not_pass_where_arrow_tables_may_lose_rows(
    shop: Any, mode: str, loaded: int
) -> None:
    pages: list[Any] = [pyarrow.table({"id": [1, 2, 3]})]

    def assets(contract: Any) -> dg.AssetsDefinition:
        @dlt.resource(name="strict", schema_contract=contract, write_disposition="replace")
        def strict() -> Any:
            yield from pages

        return shop.assets(source_of(strict), checks=["schema_contract"])

    shop.run(assets(None))
    page = pyarrow.table({"id": [1, 2], "more": ["x", None]})
    pages[:] = [page, page, pyarrow.table({"id": [3, 4], "more": [None, "y"]})]
    check = shop.run(assets({"columns": mode})).check("dlt_one_strict", "schema_contract")
    assert not check.passed
    assert "Not counted" in check.description
    assert shop.rows("SELECT count(*) FROM ds.strict") == [(loaded,)]


@pytest.mark.parametrize("others", [True, False])
def test_ask_22_a_contract_broken_in_extract_is_told_where_the_others_are_kept(
    shop: Any, others: bool
) -> None:
    pages: list[Any] = [pyarrow.table({"id": [1]})]

    def assets() -> dg.AssetsDefinition:
        @dlt.resource(name="strict", schema_contract={"columns": "freeze"})
        def strict() -> Any:
            yield from pages

        more = [dlt.resource([{"id": 1}], name="other")] if others else []

        @dlt_assets(
            dlt_source=source_of(strict, *more),
            dlt_pipeline=shop.pipeline,
            checks=["schema_contract"],
        )
        def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
            yield from dlt.run(context=context, on_error="keep")

        return loaded

    shop.run(assets())
    pages[:] = [pyarrow.table({"id": [2], "more": ["x"]})]
    told = shop.run(assets(), fails=True)
    check = told.check("dlt_one_strict", "schema_contract")
    assert not check.passed
    assert check.metadata["column"].value == "more"
    assert ("dlt_one_other" in told.events) is others
    assert shop.rows("SELECT id FROM ds.strict") == [(1,)]


def test_ask_22_the_check_does_not_pass_where_a_pydantic_model_may_discard_rows(
    shop: Any,
) -> None:
    from pydantic import BaseModel

    class Strict(BaseModel):
        id: int

    rows: list[dict[str, Any]] = [{"id": 1}, {"id": "one"}]

    @dlt.resource(name="strict", columns=Strict, schema_contract={"data_type": "discard_row"})
    def strict() -> Any:
        yield rows

    told = shop.run(shop.assets(source_of(strict), checks=["schema_contract"]))
    check = told.check("dlt_one_strict", "schema_contract")
    assert not check.passed
    assert "Not counted" in check.description
    assert "discarded" not in told.events["dlt_one_strict"]
    assert shop.rows("SELECT id FROM ds.strict") == [(1,)]


def test_ask_22_the_check_does_not_pass_where_a_table_may_not_be_created(shop: Any) -> None:
    @dlt.resource(name="events", table_name=lambda row: row["kind"], schema_contract={})
    def events() -> Any:
        yield rows

    rows = [{"kind": "a"}]
    shop.run(shop.assets(source_of(events)))
    rows.extend([{"kind": "b"}, {"kind": "b"}])
    events.apply_hints(schema_contract={"tables": "discard_row"})
    told = shop.run(shop.assets(source_of(events), checks=["schema_contract"]))
    check = told.check("dlt_one_events", "schema_contract")
    assert not check.passed
    assert "Not counted" in check.description


@pytest.mark.parametrize(
    ("allow", "nested_tables", "expected"),
    [
        ([], False, ["new column items.colour", "new table items__parts"]),
        (["new column"], False, ["new table items__parts"]),
        (["new_column", "new table"], False, []),
        # Nobody knew of the nested table, so it has no asset that could tell.
        (["new_column"], True, ["new table items__parts"]),
    ],
)
def test_ask_21_a_change_fails_as_severe_as_asked_unless_it_is_allowed(
    shop: Any, allow: list[str], nested_tables: bool, expected: list[str]
) -> None:
    rows: list[dict[str, Any]] = [{"id": 1}]

    @dlt.resource(name="items")
    def items() -> Any:
        yield rows

    checks = {"schema_change": {"severity": "error", "allow": allow}}
    assets = shop.assets(source_of(items), checks=checks, nested_tables=nested_tables)
    assert shop.run(assets).check("dlt_one_items", "schema_change").passed
    rows[0] = {"id": 2, "colour": "red", "parts": [{"n": 1}]}
    check = shop.run(assets).check("dlt_one_items", "schema_change")
    assert check.passed is not bool(expected)
    assert check.severity == dg.AssetCheckSeverity.ERROR
    for change in expected:
        assert change in check.description
    changes = str(check.metadata["changes"].value) if expected else ""
    assert ("new column" in changes) is ("new column items.colour" in expected)


def test_ask_21_a_kind_of_change_that_there_is_not_gets_a_close_match(shop: Any) -> None:
    items = dlt.resource([{"id": 1}], name="items")
    with pytest.raises(ConfigError, match=r"checks\.schema_change\.allow.*Did you mean 'new col"):
        shop.assets(source_of(items), checks={"schema_change": {"allow": ["new colum"]}})


@pytest.mark.parametrize("destination", ["duckdb", "filesystem"])
def test_ask_20_rows_are_counted_where_names_have_to_be_quoted(
    shop: Any, tmp_path: Path, destination: str
) -> None:
    made = {
        "duckdb": lambda: dlt.destinations.duckdb(str(shop.database)),
        "filesystem": lambda: dlt.destinations.filesystem((tmp_path / "files").as_uri()),
    }[destination]
    pipeline = dlt.pipeline("quoted", destination=made(), dataset_name="order")
    source = source_of(dlt.resource([{"group": 1}, {"group": 2}], name="select"))
    checks = {"row_count": {"min": 4}}
    assets = shop.assets(source, dlt_pipeline=pipeline, checks=checks)
    assert not shop.run(assets).check("dlt_one_select", "row_count").passed
    told = shop.run(assets)
    assert told.check("dlt_one_select", "row_count").passed
    assert told.events["dlt_one_select"]["dagster/row_count"] == 4


def test_ask_16_a_branch_never_writes_where_production_does(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "odp_config"
    shop.write_project(home, pipeline_params={"dataset_name": "real"})
    monkeypatch.setenv("DAGSTER_CLOUD_DEPLOYMENT_NAME", "New-Prices")
    monkeypatch.setenv("DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT", "1")
    build_definitions(home).resolve_implicit_global_asset_job_def().execute_in_process()
    found = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'something'"
    assert shop.rows(found) == [("real_new_prices",)]


def test_ask_23_a_destination_without_states_shows_the_cursor_of_the_working_directory(
    shop: Any,
) -> None:
    @dlt.destination(name="sink")
    def sink(_rows: Any, _table: Any) -> None:
        pass

    @dlt.resource(name="events")
    def events(at: Any = dlt.sources.incremental("id", initial_value=0)) -> Any:
        yield [{"id": 1}, {"id": 2}]

    pipeline = dlt.pipeline("sunk", destination=sink())
    assets = shop.assets(source_of(events), dlt_pipeline=pipeline)
    shop.run(assets)
    definition = live_definition(source_of(events), pipeline, nested_tables=False)
    (cursor,) = fetch_cursors(definition, RunRequest())
    assert (cursor.last_value, cursor.kept_in) == ("2", "working directory")
    assert reset_cursors(definition, RunRequest()) == (cursor,)
    assert fetch_cursors(definition, RunRequest()) == ()
    assert shop.run(assets).events["dlt_one_events"]["rows_loaded"] == 2
