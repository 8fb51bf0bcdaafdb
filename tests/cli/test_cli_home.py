"""A project keeps its runs, and Dagster's page shows them."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from loadsmith.cli.starters import LAYOUTS

QUESTION = "{assetNodes{assetKey{path} assetMaterializations(limit:1){runId}}}"


@pytest.fixture
def new(tmp_path, monkeypatch, call):
    """A project of `loadsmith init`; the working directory is in it."""
    monkeypatch.chdir(tmp_path)
    assert call("init", "new", "--yes").exit_code == 0
    monkeypatch.chdir("new")
    return tmp_path / "new"


def test_a_new_project_keeps_its_runs_out_of_git(new, call):
    assert call("run", "shop/*").exit_code == 0
    found = json.loads(call("info", "--json").stdout)
    assert found["instance"] == str(new / ".dagster_home")
    assert [run["status"] for run in found["runs"]] == ["success"]
    subprocess.run(["git", "init", "-q", "."], check=True)
    status = ["git", "status", "--porcelain", "-uall", ".dagster_home"]
    seen = subprocess.run(status, capture_output=True, text=True, check=True).stdout.split()
    assert seen == ["??", ".dagster_home/.gitignore", "??", ".dagster_home/dagster.yaml"]


def test_the_folder_that_the_user_has_set_wins(new, call, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(other))
    assert call("run", "shop/*").exit_code == 0
    assert json.loads(call("info", "--json").stdout)["instance"] == str(other)
    assert not (new / ".dagster_home" / "history").exists()
    monkeypatch.delenv("DAGSTER_HOME")
    assert json.loads(call("info", "--json").stdout)["runs"] == []


def test_a_project_of_ones_own_keeps_runs_where_it_has_the_folder(shop, call):
    assert call("run", "shop/*").exit_code == 0
    assert json.loads(call("info", "--json").stdout)["instance"] is None
    Path(".dagster_home").mkdir()
    assert call("run", "shop/*").exit_code == 0
    assert len(json.loads(call("info", "--json").stdout)["runs"]) == 1


REPORT = """
assets:
  - asset_key: report/orders
    task_type: duckdb_query
    depends_on: [shop/orders]
    params: {query: "SELECT count(*) FROM {{shop_orders.destination_table_id}}"}
"""


def test_a_query_runs_by_itself_where_the_load_is_remembered(shop, call):
    config = Path("odp_config/dagster_config.yaml")
    duckdb = "  - {resource_kind: duckdb, params: {database_path: data/warehouse.duckdb}}\n"
    config.write_text(config.read_text() + duckdb)
    Path("odp_config/workflows/report.yaml").write_text(REPORT)
    assert call("run", "shop/*").exit_code == 0
    done = call("run", "report/*")
    assert done.exit_code == 1
    assert "make the folder `.dagster_home` in the project, or set DAGSTER_HOME" in done.stderr
    Path(".dagster_home").mkdir()
    assert call("run", "shop/*").exit_code == 0
    done = call("run", "report/*")
    assert done.exit_code == 0, done.stderr


def test_a_page_needs_a_file_that_says_what_the_project_is(shop, call):
    done = call("dev")
    assert done.exit_code == 1
    assert "Write definitions.py" in done.stderr
    text = done.stderr.partition("definitions.py:\n")[2]
    (shop / "definitions.py").write_text(text)
    names: dict = {"__file__": str(shop / "definitions.py")}
    exec(text, names)
    assert names["defs"].resolve_all_asset_specs()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_page_shows_the_run_of_the_terminal(tmp_path, monkeypatch, call, layout):
    """The page takes seconds to start, and so does the run beside it."""
    monkeypatch.chdir(tmp_path)
    assert call("init", "new", "--layout", layout, "--yes").exit_code == 0
    loadsmith = [sys.executable, "-c", "from loadsmith.cli import main; main()"]
    subprocess.run([*loadsmith, "run", "*"], cwd="new", check=True, capture_output=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    log = tmp_path / "log"
    with log.open("w") as writes:
        page = subprocess.Popen(
            [*loadsmith, "dev", "--port", port], cwd="new", stdout=writes, stderr=writes
        )
    try:
        nodes = ask(port, page)
    finally:
        page.send_signal(signal.SIGINT)
        page.wait()
    shown = {node["assetKey"]["path"][-1]: node["assetMaterializations"] for node in nodes}
    assert {"customers", "orders", "orders__items"} <= {
        name for name, runs in shown.items() if runs
    }
    assert "superseded" not in log.read_text()


def ask(port, page):
    """Ask Dagster's page for its assets, as soon as it listens."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": QUESTION}).encode(),
        {"Content-Type": "application/json"},
    )
    while page.poll() is None:
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)["data"]["assetNodes"]
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError("the page has ended")
