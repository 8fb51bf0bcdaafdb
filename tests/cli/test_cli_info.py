"""`loadsmith info`, and the completion of asset keys."""

import json
from pathlib import Path

from click.testing import CliRunner

from loadsmith.cli import cli


def out(call, *arguments):
    done = call(*arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_versions_files_instance_loads_and_runs_are_told_without_secrets(
    shop, call, tmp_path, monkeypatch
):
    secrets = Path("dlt_project/.dlt/secrets.toml")
    secrets.parent.mkdir()
    secrets.write_text('[shop]\napi_token = "tok-4711-secret"\n')
    early = json.loads(out(call, "info", "--json"))
    assert early["instance"] is None
    assert early["runs"] == []
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert "It has no run yet" in out(call, "info")
    out(call, "run", "shop/*")
    found = json.loads(out(call, "info", "--json"))
    assert found["layout"] == "odp"
    assert {"loadsmith", "dlt", "dagster", "python", "duckdb"} <= set(found["versions"])
    files = {file["path"]: file["exists"] for file in found["files"]}
    assert files["odp_config/workflows/shop.yaml"] is True
    assert files["dlt_project/.dlt/secrets.toml"] is True
    (load,) = found["loads"]
    assert (load["destination"], load["dataset"], load["assets"]) == ("duckdb", "raw", 3)
    assert load["place"].endswith("data/warehouse.duckdb")
    assert load["pending"] == []
    (run,) = found["runs"]
    assert run["status"] == "success"
    assert "shop/orders" in run["assets"]
    shown = out(call, "info")
    assert str(home) in shown
    assert "Nothing is pending" in shown
    assert "4711" not in shown
    pipeline = Path("data/pipelines", load["pipeline"])
    (pipeline / "load" / "normalized" / "1700000000.1").mkdir(parents=True)
    assert "1 package of an earlier run waits (1700000000.1)" in out(call, "info")


def test_an_address_is_told_without_its_password_and_without_a_connection(shop, call):
    workflow = Path("odp_config/workflows/shop.yaml")
    workflow.write_text(
        workflow.read_text()
        .replace("destination: duckdb", "destination: postgres")
        .replace(
            "{database: data/warehouse.duckdb}",
            "{credentials: 'postgresql://ada:pass-4711-word@db.example:1/shop'}",
        )
    )
    shown = out(call, "info")
    assert "db.example/shop" in shown
    assert "4711" not in shown


def test_it_helps_where_the_project_is_broken_or_there_is_none(shop, call, tmp_path, monkeypatch):
    Path("odp_config/workflows/shop.yaml").write_text("assets: [{asset_key: 1}]\n")
    done = call("info")
    assert done.exit_code == 0
    assert "The project cannot be read" in done.stderr
    assert "loadsmith" in done.stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert "There is no project here" in out(call, "info")


def completed(*words, incomplete=""):
    done = CliRunner().invoke(
        cli,
        prog_name="loadsmith",
        env={
            "_LOADSMITH_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["loadsmith", *words, incomplete]),
            "COMP_CWORD": str(len(words) + 1),
        },
    )
    return sorted(line.partition(",")[2] for line in done.stdout.splitlines() if line)


def test_a_shell_completes_asset_keys(shop, tmp_path, monkeypatch):
    for command in (["show"], ["run"], ["schema"], ["discover"], ["state", "show"]):
        assert completed(*command, incomplete="shop/o") == ["shop/orders"], command
    assert completed("run", incomplete="shop/") == ["shop/customers", "shop/orders"]
    Path("odp_config/workflows/shop.yaml").write_text("assets: [")
    assert completed("show", incomplete="s") == []
    monkeypatch.chdir(tmp_path)
    assert completed("show", incomplete="s") == []
