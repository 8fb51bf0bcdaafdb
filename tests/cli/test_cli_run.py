import json
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import duckdb
import pytest

SOURCE = Path("dlt_project/shop/source.py")
WORKFLOW = Path("odp_config/workflows/shop.yaml")


def rows_of(table):
    with duckdb.connect("data/warehouse.duckdb", read_only=True) as database:
        return database.execute(f"SELECT count(*) FROM raw.{table}").fetchone()[0]


def test_rows_of_each_table_are_loaded_and_printed(shop, call):
    done = call("run", "shop/*")
    assert done.exit_code == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "shop/orders__items" in line)
    assert line.split()[1] == "6"
    assert line.split()[3] == "raw.orders__items"
    assert "3 assets, 10 rows" in done.stdout
    assert rows_of("orders__items") == 6


def test_tables_that_were_not_selected_came_along(shop, call):
    SOURCE.write_text(SOURCE.read_text().replace('"items":', '"notes": [{"text": "x"}], "items":'))
    done = call("run", "shop/orders__items")
    assert done.exit_code == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert [line.split("  ")[0] for line in lines if line.startswith("shop/")] == [
        "shop/orders (came along)",
        "shop/orders__items",
        "shop/orders__notes (came along)",
    ]


def test_the_result_is_data_with_json(shop, call):
    done = call("run", "shop/customers", "--json")
    report = json.loads(done.stdout)
    assert report["success"]
    assert [(line["asset"], line["rows"]) for line in report["lines"]] == [("shop/customers", 1)]


def test_a_failed_load_says_why_without_a_traceback(shop, call):
    SOURCE.write_text(
        SOURCE.read_text().replace("yield {", "raise ValueError('closed')\n            yield {")
    )
    done = call("run", "shop/orders")
    assert done.exit_code == 1
    assert "load 'shop', extract, resource 'orders', before its first page" in done.stderr
    assert "ValueError: closed. Nothing" in done.stderr
    assert "Traceback" not in done.output
    assert "loaded: 0 assets" in done.stdout


def test_a_misspelled_selection_gets_close_matches(shop, call):
    done = call("run", "shop/ordrs")
    assert done.exit_code == 1
    assert "Did you mean 'shop/orders'" in done.stderr


def test_a_partition_of_assets_without_partitions_is_refused(shop, call):
    done = call("run", "shop/orders", "--partition", "2024-01-01")
    assert done.exit_code == 1
    assert "none of the selected assets has partitions" in done.stderr


@pytest.fixture
def partitioned_shop(shop):
    text = WORKFLOW.read_text().replace(
        "asset_key: shop/orders, task_type: dlt, params: {",
        'asset_key: shop/orders, task_type: dlt, params: {source_params: {day: "{{context.'
        'partition_key}}"}, ',
    )
    WORKFLOW.write_text(
        f"{text}\npartitions:\n  - assets: [shop/orders]\n    params: {{start: '2024-01-01', "
        "end: '2024-01-04', schedule_type: DAILY}\n"
    )
    return shop


def test_a_partition_reaches_the_source(partitioned_shop, call):
    done = call("run", "shop/orders", "--partition", "2024-01-02")
    assert done.exit_code == 0, done.stderr
    with duckdb.connect("data/warehouse.duckdb", read_only=True) as database:
        found = database.execute("SELECT DISTINCT day FROM raw.orders").fetchall()
    assert [str(day)[:10] for (day,) in found] == ["2024-01-02"]


def test_a_missing_partition_names_the_latest(partitioned_shop, call):
    done = call("run", "shop/orders")
    assert done.exit_code == 1
    assert "Add --partition KEY, such as --partition 2024-01-03, the latest." in done.stderr


def test_an_unknown_partition_says_which_there_are(partitioned_shop, call):
    done = call("run", "shop/orders", "--partition", "2024-01-09")
    assert done.exit_code == 1
    assert "They go from 2024-01-01 to 2024-01-03." in done.stderr


def test_the_run_is_in_the_instance_of_dagster_home(shop, tmp_path, monkeypatch, call):
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert call("run", "shop/customers").exit_code == 0
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["shop", "customers"]))
        assert event is not None


def test_a_range_of_partitions_is_one_run(partitioned_shop, call):
    WORKFLOW.write_text(WORKFLOW.read_text().replace("context.partition_key", "context.run_id"))
    done = call("run", "shop/orders", "--partition", "2024-01-01...2024-01-02", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    lines = report["lines"]
    assert {line["partition"] for line in lines} == {"2024-01-01", "2024-01-02"}
    assert rows_of("orders") == 3
    # The rows of each day are not known, those of the range are.
    assert {(line["rows"], line["rows_of_range"]) for line in lines if line["selected"]} == {
        (None, 3)
    }
    assert report["rows"] == 9


def test_the_rows_of_a_range_are_printed_once(partitioned_shop, call):
    WORKFLOW.write_text(WORKFLOW.read_text().replace("context.partition_key", "context.run_id"))
    done = call("run", "shop/orders", "--partition", "2024-01-01...2024-01-03")
    assert done.exit_code == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.strip().startswith("shop/orders "))
    assert line.split()[1:3] == ["2024-01-01...2024-01-03", "3"]
    assert "2 assets, 9 rows" in done.stdout


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("2024-1-2", "2024-01-02"),
        ("20240102", "2024-01-02"),
        ("2024/01/02 13:00", "2024-01-02"),
        ("2023-12", "2024-01-01"),
        ("2031-01-01", "2024-01-03"),
    ],
)
def test_the_partition_of_that_time_is_suggested(partitioned_shop, call, key, nearest):
    done = call("run", "shop/orders", "--partition", key)
    assert done.exit_code == 1
    assert f"Did you mean '{nearest}'?" in done.stderr


def test_warnings_are_whole_and_last_everywhere(shop, call):
    long = "x" * 500
    text = SOURCE.read_text().replace(
        "            yield {",
        f"            import logging; logging.getLogger('dlt').warning('of dlt: {long}')\n"
        "            yield {",
    )
    SOURCE.write_text(text)
    for arguments in ([], ["--json"]):
        done = call("run", "shop/orders", *arguments)
        assert done.exit_code == 0, done.stderr
        shown = json.loads(done.stdout)["warnings"] if arguments else done.stderr.splitlines()
        (line,) = {line for line in shown if "of dlt" in line}
        assert line.removeprefix("Warning: ") == f"of dlt: {long}"


def test_a_failed_check_says_what_it_saw(shop, call):
    WORKFLOW.write_text(
        WORKFLOW.read_text().replace(
            "asset_key: shop/customers,",
            "asset_key: shop/customers, checks: {row_count: {min: 5}},",
        )
    )
    done = call("run", "shop/customers")
    assert done.exit_code == 1
    assert "shop/customers: check row_count: rows 1, min 5" in done.stderr
    done = call("run", "shop/customers", "--json")
    assert json.loads(done.stdout)["failed_checks"] == [
        "shop/customers: check row_count: rows 2, min 5"
    ]


def test_a_run_says_what_it_does_and_where_the_rows_are(shop, call):
    done = call("run", "shop/*")
    assert done.exit_code == 0, done.stderr
    stages = [line.split(": ")[-1] for line in done.stderr.splitlines() if "load 'shop'" in line]
    assert stages[:5] == ["starting", "sync", "extract", "normalize", "load"]
    assert "load 'shop': 10 rows loaded into duckdb, dataset raw (" in done.stderr
    assert "The rows are in duckdb, data/warehouse.duckdb, dataset raw." in done.stdout
    assert "To see some: loadsmith show shop/customers" in done.stdout


@pytest.mark.parametrize("command", ["run", "schema", "show"])
def test_a_pattern_that_the_shell_has_taken_is_to_be_quoted(shop, call, command):
    Path("notes.txt").touch()
    done = call(command, *sorted(str(path) for path in Path().iterdir()))
    assert done.exit_code == 2
    assert f"Quote the pattern: cli {command} '*'" in done.stderr


def test_a_file_in_the_place_of_a_pattern_is_to_be_quoted(shop, call):
    done = call("run", "dlt_project", "odp_config")
    assert done.exit_code == 1
    assert "Quote a pattern, such as '*'." in done.stderr


def test_the_right_secret_after_a_wrong_one_is_no_other_destination(
    shop, call, monkeypatch, tmp_path
):
    text = WORKFLOW.read_text().replace("    destination: duckdb", "    destination: sqlalchemy")
    WORKFLOW.write_text(
        text.replace("    destination_params: {database: data/warehouse.duckdb}\n", "")
    )

    def run_into(folder):
        address = f"sqlite:///{tmp_path / folder / 'x.db'}"
        monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", address)
        return call("run", "shop/orders", "--json")

    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    (tmp_path / "no_folder").touch()
    assert run_into("no_folder").exit_code == 1
    right = run_into("first")
    assert right.exit_code == 0, right.output
    assert json.loads(right.stdout)["warnings"] == []
    other = json.loads(run_into("second").stdout)
    assert ["was used for another destination" in text for text in other["warnings"]] == [True]
    with closing(sqlite3.connect(tmp_path / "second" / "x__raw.db")) as database:
        assert database.execute("SELECT count(*) FROM orders").fetchone() == (3,)


def test_a_range_that_runs_backwards_is_refused_before_a_run(partitioned_shop, call):
    done = call("run", "shop/orders", "--partition", "2024-01-03...2024-01-01")
    assert done.exit_code == 1
    assert "2024-01-03 comes after 2024-01-01. Write 2024-01-01...2024-01-03." in done.stderr
