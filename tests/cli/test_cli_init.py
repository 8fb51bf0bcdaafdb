import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
import yaml

from loadsmith.cli.starters import DESTINATIONS, LAYOUTS, SOURCES


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("source", SOURCES)
def test_a_new_project_has_no_mistakes_and_knows_its_tables(call, source):
    assert call("init", "new", "--source", source, "--yes").exit_code == 0
    done = call("check", "new", "--deep")
    assert done.exit_code == 0, done.stderr
    found = json.loads(call("list", "new", "--json").stdout)
    starter = SOURCES[source]
    assert {asset["asset"] for asset in found["assets"]} == {
        f"{starter.prefix}/{table}" for table in starter.tables
    }
    assert len(found["schedules"]) == 1


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_a_new_project_goes_to_any_destination(call, destination):
    assert call("init", "new", "--destination", destination, "--yes").exit_code == 0
    text = Path("new/odp_config/workflows/shop.yaml").read_text()
    assert yaml.safe_load(text)["defaults"]["params"]["destination"] == destination
    done = call("list", "new", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["assets"][0]["destination"] == destination


@pytest.mark.parametrize("source", ["python", "filesystem", "sql_database"])
def test_what_a_new_project_ships_loads_right_away(call, monkeypatch, source):
    call("init", "new", "--source", source, "--yes")
    monkeypatch.chdir("new")
    done = call("run", "*", "--json")
    assert done.exit_code == 0, done.stderr
    assert all(line["rows"] for line in json.loads(done.stdout)["lines"])


@pytest.mark.parametrize("source", ["filesystem", "sql_database"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_files_of_a_starter_are_found_from_any_folder(
    call, tmp_path, monkeypatch, layout, source
):
    monkeypatch.setattr(sys, "path", list(sys.path))
    call("init", f"from_{layout}", "--layout", layout, "--source", source, "--yes")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    done = call("run", "*", str(tmp_path / f"from_{layout}"), "--json")
    assert done.exit_code == 0, done.stderr
    assert all(line["rows"] for line in json.loads(done.stdout)["lines"])
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("source", ["python", "filesystem", "sql_database"])
def test_the_schema_files_that_are_shipped_are_up_to_date(call, monkeypatch, source):
    call("init", "new", "--source", source, "--yes")
    monkeypatch.chdir("new")
    done = call("schema", "--all", "--check")
    assert done.exit_code == 0, done.stdout


def test_it_asks_for_what_it_is_not_told(call):
    done = call("init", "new", "--layout", "odp", given="filesystem\n\n")
    assert done.exit_code == 0
    assert "Source (" in done.stdout
    assert "Destination (" in done.stdout
    assert "Layout (" not in done.stdout
    assert Path("new/odp_config/workflows/files.yaml").exists()


def test_a_name_is_asked_for_in_a_terminal_alone(call):
    done = call("init")
    assert done.exit_code == 2
    assert "`loadsmith init shop --yes`" in done.stderr
    main, side = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from loadsmith.cli import main; main()", "init"],
        stdin=side,
        stdout=side,
        stderr=side,
    )
    os.close(side)
    os.write(main, b"asked\n\n\n\n")
    with contextlib.suppress(OSError):  # Linux says EIO where the other side is closed
        while os.read(main, 65536):
            pass
    os.close(main)
    assert process.wait() == 0
    assert Path("asked/odp_config/workflows/shop.yaml").exists()


def test_a_question_that_nobody_answers_names_its_option(call):
    done = call("init", "new", "--layout", "odp")
    assert done.exit_code == 2
    assert "Add --source, or --yes" in done.stderr
    assert not Path("new").exists()


def test_the_choices_and_the_files_are_there_as_json(call):
    choices = json.loads(call("init", "--list", "--json").stdout)
    assert [one["name"] for one in choices["layouts"]] == list(LAYOUTS)
    assert {one["name"]: one["extra"] for one in choices["destinations"]} == {
        name: one.extra for name, one in DESTINATIONS.items()
    }
    assert call("init", "--json", "--list").stdout == call("init", "--list", "--json").stdout
    made = json.loads(call("init", "new", "--json").stdout)
    assert made["next"][0] == "cd new"
    there = {path.relative_to("new").as_posix() for path in Path("new").rglob("*")}
    assert set(made["files"]) <= there


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_next_steps_work_as_they_are_printed(call, layout):
    """From the installation to the run; other tests run `pytest` and `loadsmith dev`."""
    told = call("init", "my shop", "--layout", layout, "--yes").stdout.splitlines()
    steps = [line.strip() for line in told if line.startswith("  ")]
    assert [" ".join(step.split()[:2]) for step in steps] == [
        "cd 'my",
        "pip install",
        "loadsmith list",
        "loadsmith run",
        "pytest #",
        "loadsmith dev",
    ]
    dry = "pip install --no-index --dry-run --quiet"
    done = subprocess.run(
        ["bash", "-ec", "\n".join(steps[:-2]).replace("pip install", dry)],
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 assets, 320 rows" in done.stdout
    assert steps[1].split("'")[1] in Path("my shop/README.md").read_text()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("source", SOURCES)
def test_the_files_that_the_readme_names_are_there(call, layout, source):
    call("init", "new", "--layout", layout, "--source", source, "--yes")
    named = re.findall(r"`([\w./]+/[\w./]+)`", Path("new/README.md").read_text())
    assert len(named) >= 2
    for path in named:
        assert Path("new", path.replace("secrets.toml", "secrets.toml.example")).exists(), path


def test_extras_of_the_next_steps_are_named_in_the_readme():
    text = (Path(__file__).parents[2] / "README.md").read_text()
    extras = {one.extra for one in (*SOURCES.values(), *DESTINATIONS.values()) if one.extra}
    assert {extra for extra in {*extras, "dg", "ui"} if f"`{extra}`" not in text} == set()


def test_it_never_writes_over_what_is_there(call):
    Path("new").mkdir()
    Path("new/mine.txt").write_text("mine")
    done = call("init", "new", "--yes")
    assert done.exit_code == 1
    assert done.stderr.startswith("new: there is something already.")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("destination", DESTINATIONS)
def test_secrets_have_a_template_and_stay_out_of_git(call, layout, destination):
    call("init", "new", "--layout", layout, "--destination", destination, "--yes")
    (template,) = Path("new").rglob("secrets.toml.example")
    tomlkit.parse(template.read_text())
    template.with_name("secrets.toml").write_text(template.read_text())
    subprocess.run(["git", "init", "-q", "new"], check=True)
    done = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd="new", capture_output=True, text=True
    )
    assert "secrets.toml.example" in done.stdout
    assert "secrets.toml\n" not in done.stdout


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_the_copied_template_of_secrets_is_where_the_destination_looks(call, destination):
    done = call("init", "new", "--destination", destination, "--yes")
    secrets = "dlt_project/.dlt/secrets.toml"
    asks = DESTINATIONS[destination].needs_secrets
    assert (f"  cp {secrets}.example {secrets}" in done.stdout) is asks
    assert (f"cp {secrets}.example {secrets}" in Path("new/README.md").read_text()) is asks
    template = Path("new", f"{secrets}.example").read_text()
    written = dict(tomlkit.parse(template).get("destination", {}))
    assert list(written) == ([destination] if asks else [])


def test_a_secret_of_the_source_is_found_where_the_template_has_it(call, monkeypatch):
    call("init", "new", "--yes")
    monkeypatch.chdir("new")
    source = Path("dlt_project/shop/source.py")
    text = source.read_text()
    text = text.replace(
        "order_count: int = 100", "order_count: int = 100, api_token: str = dlt.secrets.value"
    ).replace("customers(), orders", "customers(len(api_token)), orders")
    source.write_text(text)
    template = Path("dlt_project/.dlt/secrets.toml.example").read_text()
    filled_in = template.replace("# [shop]", "[shop]").replace("# api_token", "api_token")
    Path("dlt_project/.dlt/secrets.toml").write_text(filled_in)
    done = call("run", "shop/customers", "--json")
    assert done.exit_code == 0, done.stderr
    (customers,) = (
        line for line in json.loads(done.stdout)["lines"] if line["asset"] == "shop/customers"
    )
    assert customers["rows"] == len("TOKEN")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_line_of_the_files_names_a_schema_that_is_there(call, layout):
    call("init", "new", "--layout", layout, "--yes")
    named = 0
    for path in Path("new").rglob("*.yaml"):
        first = path.read_text().splitlines()[0]
        if first.startswith("# yaml-language-server: $schema="):
            named += 1
            schema = path.parent / first.partition("=")[2]
            assert json.loads(schema.read_text())["$schema"]
    assert named == (2 if layout == "odp" else 1)


def test_a_project_named_like_a_module_gets_a_package_of_its_own(call):
    call("init", "json", "--layout", "dg", "--yes")
    assert Path("json/json_project/definitions.py").exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_test_of_a_new_project_passes(call, layout):
    call("init", "new", "--layout", layout, "--source", "rest_api", "--yes")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd="new",
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
