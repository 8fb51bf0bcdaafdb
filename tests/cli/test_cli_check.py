import json
from pathlib import Path

import dagster as dg
import pytest

from loadsmith import build_definitions

WORKFLOW = "odp_config/workflows/shop.yaml"


def edit(path, before, after):
    text = Path(path).read_text()
    assert before in text
    Path(path).write_text(text.replace(before, after))


def test_a_project_without_mistakes_is_said_to_have_none(shop, call):
    done = call("check")
    assert (done.exit_code, done.output) == (0, "No mistakes: 3 assets.\n")


def test_all_mistakes_come_at_once_with_their_places_and_without_a_traceback(shop, call):
    edit(WORKFLOW, "group_name", "grup_name")
    edit(WORKFLOW, "destination: duckdb", "destination: dukdb")
    done = call("check")
    assert done.exit_code == 1
    file = "odp_config/workflows/shop.yaml"
    assert done.stderr.splitlines() == [
        f"{file}:3:3: there is no field 'grup_name' here. Did you mean 'group_name'?",
        f"{file}:6:18: there is no destination 'dukdb'. Did you mean 'duckdb'?",
        "2 problems.",
    ]


def test_mistakes_are_data_with_json(shop, call):
    edit(WORKFLOW, "group_name", "grup_name")
    done = call("check", "--json")
    problem = json.loads(done.stdout)["problems"][0]
    assert done.exit_code == 1
    assert (problem["file"], problem["line"], problem["column"]) == ("workflows/shop.yaml", 3, 3)


def test_a_parameter_that_the_destination_does_not_take_is_shown_at_its_asset(shop, call):
    edit(WORKFLOW, "database:", "databse:")
    done = call("check")
    assert done.exit_code == 1
    assert (
        "odp_config/workflows/shop.yaml:6:18: destination 'duckdb': it takes no parameter"
        in done.stderr
    )
    assert done.stderr.count("databse") == 1


@pytest.mark.parametrize("module", ["shop.sauce", "shop.source.sauce"])
def test_a_source_that_is_not_there_is_found_from_the_files_alone(shop, call, module):
    edit(WORKFLOW, "params: {source_module: shop.source}", f"params: {{source_module: {module}}}")
    done = call("check")
    assert done.exit_code == 1
    assert module in done.stderr


def test_a_source_that_fails_when_it_is_imported_is_found_when_asked_deeply(shop, call):
    Path("dlt_project/shop/source.py").write_text("1 / 0")
    done = call("check", "--deep")
    assert done.exit_code == 1
    assert done.stderr.startswith(
        "odp_config/workflows/shop.yaml:10:70: source 'shop.source': its module"
    )
    assert "ZeroDivisionError: division by zero. Correct the module." in done.stderr


def test_the_place_of_a_mistake_can_be_clicked_from_where_the_command_runs(shop, call, monkeypatch):
    edit(WORKFLOW, "group_name", "grup_name")
    monkeypatch.chdir(shop / "odp_config" / "workflows")
    assert call("check", "..").stderr.startswith("shop.yaml:3:3: ")
    monkeypatch.chdir(shop.parent)
    told = call("check", "project").stderr
    assert told.startswith("project/odp_config/workflows/shop.yaml:3:3: ")


def test_what_dlt_init_left_open_is_a_mistake_with_its_file_and_line(shop, call):
    Path("dlt_project/.dlt").mkdir()
    secrets = Path("dlt_project/.dlt/secrets.toml")
    secrets.write_text(
        '[sources.shop]\ntoken = "<configure me>" # please set me up!\nkey = "k3y-7"\n'
    )
    Path("dlt_project/shop/.dlt").mkdir()
    config = Path("dlt_project/shop/.dlt/config.toml")
    config.write_text('[sources.shop]\n  shop_url = "<configure me>"\n#old = "<configure me>"\n')
    done = call("check")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0].startswith(
        f"{secrets}:2:1: token is still '<configure me>'."
    )
    assert done.stderr.splitlines()[1].startswith(f"{config}:2:3: shop_url is still")
    assert "k3y-7" not in done.stderr
    secrets.unlink()
    config.unlink()
    assert call("check").exit_code == 0


def test_arguments_that_the_source_does_not_take_are_mistakes_with_their_lines(shop, call):
    Path("dlt_project/shop/source.py").write_text(
        "import dlt\nfrom typing import Optional, List\n"
        "@dlt.source\n"
        "def shop(org: str, key=dlt.secrets.value, count: Optional[int] = None,"
        " repos: List[str] = None, anything=None):\n"
        "    return dlt.resource([{'id': 1}], name='orders')\n"
    )
    Path(WORKFLOW).write_text(
        "assets:\n"
        "  - asset_key: shop/orders\n"
        "    task_type: dlt\n"
        "    params:\n"
        "      source_module: shop.source\n"
        "      destination: duckdb\n"
        "      source_params:\n"
        "        cuont: 3\n"
        "        count: three\n"
        "        repos: s3cr3t\n"
        "        anything: [1]\n"
    )
    done = call("check", "--deep")
    assert done.exit_code == 1
    what = "source 'shop.source': it"
    assert done.stderr.splitlines()[:4] == [
        f"{WORKFLOW}:5:22: {what}s argument 'org' is missing. Add it to `source_params`.",
        f"{WORKFLOW}:8:16: {what} takes no argument 'cuont'. Did you mean 'count'?",
        f"{WORKFLOW}:9:16: {what}s argument 'count' takes a whole number or nothing, not text.",
        f"{WORKFLOW}:10:16: {what}s argument 'repos' takes a list of text, not text.",
    ]
    ran = call("run", "shop/orders")
    assert ran.exit_code == 1
    assert f"{WORKFLOW}:2:5: " in ran.stderr
    assert "its argument 'org' is missing" in ran.stderr
    assert "s3cr3t" not in ran.stderr


def test_defaults_name_the_source_and_patterns_name_what_is_partitioned(shop, call):
    edit(
        WORKFLOW,
        "    destination: duckdb",
        "    source_module: shop.source\n    destination: duckdb",
    )
    edit(WORKFLOW, ", params: {source_module: shop.source}", "")
    daily = "params: {schedule_type: daily, start: '2024-01-01'}"
    hourly = daily.replace("daily", "hourly")
    with Path(WORKFLOW).open("a") as file:
        file.write(
            f"partitions:\n  - assets: ['shop/*']\n    {daily}\n"
            f"  - assets: [shop/customers]\n    {hourly}\n"
        )
    assert call("check").exit_code == 0
    definitions = build_definitions("odp_config")
    kinds = {
        key: definitions.resolve_asset_graph().get(dg.AssetKey(["shop", key])).partitions_def
        for key in ("orders", "orders__items", "customers")
    }
    assert isinstance(kinds["orders"], dg.DailyPartitionsDefinition)
    assert kinds["orders__items"] == kinds["orders"]
    assert isinstance(kinds["customers"], dg.HourlyPartitionsDefinition)
    edit(WORKFLOW, "'shop/*'", "'shp/*'")
    assert ": there is no asset 'shp/*'. Did you mean" in call("check").stderr


def test_a_missing_folder_says_what_to_do(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    done = call("check")
    assert done.exit_code == 1
    assert done.stderr.startswith("odp_config: there is no such folder.")
    assert "loadsmith init NAME" in done.stderr


@pytest.mark.parametrize("path", [".", "odp_config"])
def test_the_folder_of_the_files_or_the_one_above_is_named(shop, call, path):
    assert call("check", path).exit_code == 0


def test_the_environment_names_the_folder(shop, tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODP_CONFIG_PATH", str(shop / "odp_config"))
    assert call("check").exit_code == 0


def test_debug_shows_the_error_itself(shop, call):
    from loadsmith.errors import ConfigError

    edit(WORKFLOW, "group_name", "grup_name")
    with pytest.raises(ConfigError):
        call("check", "--debug")


def test_a_mistake_is_shown_without_the_secret_in_it(shop, call, monkeypatch):
    monkeypatch.setenv("SHOP_API_KEY", "s3cret key!")
    workflow = Path("odp_config/workflows/shop.yaml")
    workflow.write_text(workflow.read_text().replace("group_name: shop", "group_name: s3cret key!"))
    for arguments in ([], ["--json"]):
        done = call("check", *arguments)
        assert done.exit_code == 1
        assert "***" in done.output
        assert "s3cret" not in done.output


KEEPS = "{disposition: merge, strategy: scd2}"

PARTITIONS = """
partitions:
  - assets: [shop/orders]
    params: {schedule_type: daily, start: "2024-01-01"}
"""


def split_by_day():
    with Path(WORKFLOW).open("a") as file:
        file.write(PARTITIONS)


def test_what_a_second_load_of_a_partition_may_surprise_with_is_warned_of(shop, call):
    split_by_day()
    schema = "  orders:\n    resource: orders\n    columns:\n      id: {data_type: bigint"
    edit("dlt_project/schemas/shop.schema.yaml", schema, f"{schema}, primary_key: true")
    done = call("check", "--json")
    told = json.loads(done.stdout)
    assert (told["ok"], told["problems"]) == (True, [])
    (warning,) = told["warnings"]
    assert "resource 'orders' appends rows that have a primary key" in warning["message"]
    assert "`reload: append`" in warning["message"]
    assert warning["file"] == "workflows/shop.yaml"
    assert "warning: odp_config/workflows/shop.yaml:" in call("check").output
    edit(
        WORKFLOW,
        "params: {source_module: shop.source}}\n  - {asset_key: shop/cust",
        "params: {source_module: shop.source, reload: append}}\n  - {asset_key: shop/cust",
    )
    assert json.loads(call("check", "--json").stdout)["warnings"] == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("run_params: {refresh: drop_data}", "`refresh` drops what other partitions hold"),
        (
            f"reload: replace, run_params: {{write_disposition: {KEEPS}}}",
            "'scd2' keeps rows on purpose",
        ),
    ],
)
def test_settings_that_every_run_of_a_partition_refuses_are_mistakes(shop, call, setting, says):
    split_by_day()
    edit(
        WORKFLOW,
        "params: {source_module: shop.source}}\n  - {asset_key: shop/cust",
        f"params: {{source_module: shop.source, {setting}}}}}\n  - {{asset_key: shop/cust",
    )
    done = call("check")
    assert done.exit_code == 1
    assert says in done.stderr
    assert done.stderr.startswith("odp_config/workflows/shop.yaml:")
