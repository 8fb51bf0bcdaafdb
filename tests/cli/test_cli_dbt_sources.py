"""The sources of a dbt project: the tables of the loads, and what others wrote beside them."""

import shutil
from pathlib import Path

import pytest
import yaml

EXAMPLE = Path(__file__).parents[2] / "examples" / "dbt"
FILE = Path("models/sources.yml")
WORKFLOW = Path("odp_config/workflows/shop.yaml")


def sources() -> dict[str, dict[str, dict]]:
    """Return the tables of each source, by name."""
    document = yaml.safe_load(FILE.read_text())
    return {
        source["name"]: {table["name"]: table for table in source["tables"]}
        for source in document["sources"]
    }


def change(old: str, new: str) -> None:
    text = WORKFLOW.read_text()
    assert old in text
    WORKFLOW.write_text(text.replace(old, new))


def test_each_table_has_its_columns_its_age_and_the_key_of_its_asset(shop, call) -> None:
    change("group_name: shop\n", "group_name: shop\n  freshness_lower_bound_delta_seconds: 5400\n")
    done = call("dbt-sources", str(FILE))
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{FILE}: written, 3 tables of 1 source\n"
    (source,) = yaml.safe_load(FILE.read_text())["sources"]
    assert (source["name"], source["schema"]) == ("raw", "raw")
    tables = sources()["raw"]
    assert set(tables) == {"customers", "orders", "orders__items"}
    items = tables["orders__items"]
    assert items["description"].startswith("The lists `items` in the rows of `orders`")
    assert items["columns"] == [{"name": "product"}]
    assert items["config"]["meta"] == {"dagster": {"asset_key": ["shop", "orders__items"]}}
    assert items["config"]["freshness"] == {"warn_after": {"count": 90, "period": "minute"}}
    # Rows of nested tables do not say which load brought them.
    assert items["config"]["loaded_at_query"].endswith("max(_dlt_load_id) from raw.orders)")


def test_the_file_of_the_example_is_what_the_command_writes(tmp_path, monkeypatch, call) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "dbt", ignore=shutil.ignore_patterns("data", "target"))
    monkeypatch.chdir(tmp_path / "dbt")
    done = call("dbt-sources", "dbt/models/sources.yml", "--check")
    assert done.exit_code == 0, done.output
    assert done.stdout == "dbt/models/sources.yml: up to date, 3 tables of 1 source\n"


def test_check_writes_nothing(shop, call) -> None:
    done = call("dbt-sources", str(FILE), "--check")
    assert done.exit_code == 1
    assert "would be written, 3 tables" in done.stdout
    assert not FILE.exists()


def test_what_is_added_by_hand_stays_and_tables_that_are_gone_go(shop, call) -> None:
    call("dbt-sources", str(FILE))
    document = yaml.safe_load(FILE.read_text())
    (raw,) = document["sources"]
    raw |= {"schema": "{{ target.schema }}", "tags": ["nightly"]}
    customers, orders, _ = raw["tables"]
    customers["columns"][0]["data_tests"] = ["unique"]
    customers["config"]["meta"]["owner"] = "ada"
    customers["config"]["event_time"] = "at"
    orders["description"] = "No longer what the asset says"
    raw["tables"].append({"name": "by_hand"})
    document["sources"].append({"name": "other", "tables": [{"name": "theirs"}]})
    FILE.write_text(yaml.safe_dump(document))
    change(
        "  - {asset_key: shop/orders, task_type: dlt, params: {source_module: shop.source}}\n", ""
    )
    change("asset_selection: [shop/orders]", "asset_selection: [shop/customers]")
    done = call("dbt-sources", str(FILE))
    assert "updated, 1 table of 2 sources" in done.stdout
    assert set(sources()) == {"raw", "other"}
    (raw, other) = yaml.safe_load(FILE.read_text())["sources"]
    assert other == {"name": "other", "tables": [{"name": "theirs"}]}
    assert (raw["schema"], raw["tags"]) == ("{{ target.schema }}", ["nightly"])
    assert [table["name"] for table in raw["tables"]] == ["customers", "by_hand"]
    customers = raw["tables"][0]
    assert customers["columns"][0] == {"name": "id", "data_tests": ["unique"]}
    assert customers["config"] == {
        "event_time": "at",
        "meta": {"owner": "ada", "dagster": {"asset_key": ["shop", "customers"]}},
    }
    assert "up to date" in call("dbt-sources", str(FILE)).stdout


def test_a_selection_leaves_the_other_tables_where_they_are(shop, call) -> None:
    call("dbt-sources", str(FILE))
    assert "up to date, 1 table" in call("dbt-sources", str(FILE), "--select", "shop/cus*").stdout
    assert set(sources()["raw"]) == {"customers", "orders", "orders__items"}
    done = call("dbt-sources", str(FILE), "--select", "shop/custmers")
    assert done.exit_code == 1
    assert "no load of loadsmith brings such an asset. Did you mean 'shop/customers'" in done.stderr


def test_what_dbt_cannot_read_is_left_out_with_the_reason(shop, call) -> None:
    change("destination: duckdb", "destination: filesystem")
    change("{database: data/warehouse.duckdb}", "{bucket_url: data/lake}")
    done = call("dbt-sources", str(FILE))
    assert "written, 0 tables of 0 sources" in done.stdout
    assert "shop/orders: left out. Its tables are files" in done.stderr
    change("destination: filesystem", "destination: duckdb")
    change("{bucket_url: data/lake}", "{database: data/warehouse.duckdb}")
    change("dataset_name: raw", 'dataset_name: "raw_{{context.run_id}}"')
    done = call("dbt-sources", str(FILE))
    assert "shop/orders: left out. Its dataset is known in a run only" in done.stderr


@pytest.mark.parametrize("text", ["sources: [a", "- a", "sources: [text]", "sources: 3"])
def test_a_file_that_is_no_dbt_file_is_named_and_left(shop, call, text) -> None:
    FILE.parent.mkdir()
    FILE.write_text(text)
    done = call("dbt-sources", str(FILE))
    assert done.exit_code == 1
    assert done.stderr.startswith(f"{FILE}: ")
    assert FILE.read_text() == text
