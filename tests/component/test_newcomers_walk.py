"""From an empty folder to rows in DuckDB, with `dg` alone."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

# dg starts anew for each command, which takes seconds.
pytestmark = pytest.mark.slow


class Walk:
    """A project as `create-dagster project` makes it, and `dg` in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        package = root / "src" / "shop"
        self.defs = package / "defs"
        (package / "components").mkdir(parents=True)
        self.defs.mkdir()
        for folder in (package, self.defs, package / "components"):
            (folder / "__init__.py").touch()
        (package / "definitions.py").write_text(
            "from pathlib import Path\n\n"
            "from dagster import definitions, load_from_defs_folder\n\n\n"
            "@definitions\n"
            "def defs():\n"
            "    return load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
        )
        (root / "pyproject.toml").write_text(
            '[project]\nname = "shop"\nversion = "0.1.0"\ndependencies = ["dagster"]\n\n'
            '[tool.dg]\ndirectory_type = "project"\n\n'
            "[tool.dg.cli.telemetry]\nenabled = false\n\n"
            '[tool.dg.project]\nroot_module = "shop"\nregistry_modules = ["shop.components.*"]\n'
        )
        home = root / ".dagster"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        scripts = Path(sys.executable).parent
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(home),
            "DLT_DATA_DIR": str(root / ".dlt_data"),
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(root / "src"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "NO_COLOR": "1",
        }

    def dg(self, *arguments: str, fails: bool = False, **environment: str) -> str:
        """Run a `dg` command and return what it says."""
        done = subprocess.run(
            [Path(sys.executable).parent / "dg", *arguments],
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, said
        return said

    def rows(self, file: str, query: str) -> list[tuple]:
        """Query a DuckDB file in the project."""
        with duckdb.connect(str(self.root / file), read_only=True) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    return Walk(tmp_path)


def test_a_newcomer_scaffolds_checks_and_materializes(walk):
    walk.dg("scaffold", "defs", "loadsmith.DltLoadCollectionComponent", "dlt_ingest")
    assert (
        (walk.defs / "dlt_ingest" / "defs.yaml")
        .read_text()
        .startswith("type: loadsmith.DltLoadCollectionComponent\n")
    )

    assert "All definitions loaded successfully" in walk.dg("check", "defs")
    walk.dg("launch", "--assets", "*")

    query = "select text from dlt_ingest_data.greetings order by id"
    assert walk.rows("dlt_ingest.duckdb", query)[0] == ("hello, world!",)


def test_the_component_is_listed_and_mistakes_are_shown_with_their_line(walk):
    assert "DltLoadCollectionComponent" in walk.dg("list", "components", "--json")

    folder = walk.defs / "dlt_ingest"
    folder.mkdir()
    (folder / "defs.yaml").write_text(
        "type: loadsmith.DltLoadCollectionComponent\n\n"
        "attributes:\n"
        "  loads:\n"
        "    - source_module: rest_api\n"
        "      destinaton: duckdb\n"
    )
    said = walk.dg("check", "yaml", fails=True)
    assert "defs.yaml:6" in said
    assert "'destinaton' was unexpected" in said


def test_a_declared_rest_api_is_loaded_without_python(walk, api):
    walk.dg(
        *("scaffold", "defs", "loadsmith.DltLoadCollectionComponent", "dlt_ingest"),
        *("--source", "rest_api", "--destination", "duckdb"),
    )
    file = walk.defs / "dlt_ingest" / "defs.yaml"
    file.write_text(
        file.read_text().replace(
            "base_url: https://pokeapi.co/api/v2/",
            f"base_url: {api.url}\n"
            '          auth: {type: bearer, token: "{{ env.API_TOKEN }}"}\n'
            "          paginator: single_page",
        )
    )
    (walk.root / ".env").write_text(f"API_TOKEN={api.token}\n")

    said = walk.dg("launch", "--assets", "dlt_ingest_data/berry")

    assert api.token not in said
    assert walk.rows("dlt_ingest.duckdb", "select count(*) from dlt_ingest_data.berry") == [(2,)]


@pytest.mark.postgres
def test_a_database_is_asked_once_and_loaded(walk, database):
    folder = walk.defs / "dlt_ingest"
    walk.dg(
        *("scaffold", "defs", "loadsmith.DltLoadCollectionComponent", "dlt_ingest"),
        *("--source", "sql_database"),
    )
    file = folder / "defs.yaml"
    file.write_text(
        file.read_text().replace(
            'resources: ["*"]', f'source_params: {{schema: {database}}}\n      resources: ["*"]'
        )
    )
    url = "postgresql://postgres:x@127.0.0.1:5432/postgres"
    secret = {"SOURCES__SQL_DATABASE__CREDENTIALS": url}

    said = walk.dg("utils", "refresh-defs-state", **secret)
    assert "2 table(s): orders, orders_archive" in said
    assert (folder / "tables.json").exists()
    walk.dg("launch", "--assets", "*", **secret)

    query = "select count(*) from dlt_ingest_data.orders"
    assert walk.rows("dlt_ingest.duckdb", query) == [(2,)]
