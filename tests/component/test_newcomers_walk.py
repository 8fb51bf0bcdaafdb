"""From an empty folder to rows in DuckDB, with `dg` alone."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

# dg starts anew for each command, which takes seconds.


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


PAGE = (Path(__file__).parents[2] / "docs" / "component.md").read_text(encoding="utf-8")
#: The commands of the page, without `dg`.
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
TYPE = "loadsmith.DltLoadCollectionComponent"
POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"
IN_PROCESS = '{"execution": {"config": {"in_process": {}}}}'
WRONG = f"""\
type: {TYPE}

attributes:
  loads:
    - source_module: rest_api
      destinaton: duckdb
"""


@pytest.fixture(scope="module")
def greetings(tmp_path_factory):
    """The walk with nothing but what `dg scaffold` writes, and what dg says meanwhile."""
    walk = Walk(tmp_path_factory.mktemp("walk"))
    said = [walk.dg(*arguments) for arguments in COMMANDS[:3]]
    walk.said = said[1]
    return walk


@pytest.fixture(scope="module")
def declared(tmp_path_factory, api_of_module, schema_of_module):
    """The walk of the loads without Python: a REST API, and PostgreSQL where there is one."""
    walk = Walk(tmp_path_factory.mktemp("declared"))
    _declare_rest_api(walk, api_of_module)
    if schema_of_module is not None:
        _declare_database(walk, schema_of_module)
        walk.said = walk.dg(*COMMANDS[3])
    # In one process: three loads do not import dlt three times.
    walk.launched = walk.dg("launch", "--assets", "*", "--config-json", IN_PROCESS)
    return walk


def _declare_rest_api(walk, api):
    walk.dg("scaffold", "defs", TYPE, "tracker", "--source", "rest_api", "--destination", "duckdb")
    file = walk.defs / "tracker" / "defs.yaml"
    file.write_text(
        file.read_text().replace(
            "base_url: https://pokeapi.co/api/v2/",
            f"base_url: {api.url}\n"
            '          auth: {type: bearer, token: "{{ env.API_TOKEN }}"}\n'
            "          paginator: single_page",
        )
    )
    (walk.root / ".env").write_text(
        f"API_TOKEN={api.token}\nSOURCES__SQL_DATABASE__CREDENTIALS={POSTGRES}\n"
    )


def _declare_database(walk, schema):
    walk.dg("scaffold", "defs", TYPE, "warehouse", "--source", "sql_database")
    file = walk.defs / "warehouse" / "defs.yaml"
    file.write_text(
        file.read_text().replace(
            'resources: ["*"]',
            f'source_params: {{schema: {schema}}}\n      resources: ["*"]',
        )
    )


def test_the_commands_of_the_page_are_the_ones_that_are_run():
    assert [words[:2] for words in COMMANDS] == [
        ["scaffold", "defs"],
        ["check", "defs"],
        ["launch", "--assets"],
        ["utils", "refresh-defs-state"],
    ]


def test_a_newcomer_scaffolds_checks_and_materializes(greetings):
    written = (greetings.defs / "dlt_ingest" / "defs.yaml").read_text()
    assert written.startswith("type: loadsmith.DltLoadCollectionComponent\n")
    assert "All definitions loaded successfully" in greetings.said

    query = "select text from dlt_ingest_data.greetings order by id"
    assert greetings.rows("dlt_ingest.duckdb", query)[0] == ("hello, world!",)


def test_the_component_is_listed_and_mistakes_are_shown_with_their_line(greetings):
    assert "DltLoadCollectionComponent" in greetings.dg("list", "components", "--json")

    folder = greetings.defs / "wrong"
    folder.mkdir()
    (folder / "defs.yaml").write_text(WRONG)
    # Named, for dg looks at one file only of those with the same component.
    said = greetings.dg("check", "yaml", "src/shop/defs/wrong", fails=True)
    assert "defs.yaml:6" in said
    assert "'destinaton' was unexpected" in said


def test_a_declared_rest_api_is_loaded_without_python(declared, api_of_module):
    assert api_of_module.token not in declared.launched
    assert declared.rows("tracker.duckdb", "select count(*) from tracker_data.berry") == [(2,)]


@pytest.mark.postgres
def test_a_database_is_asked_once_and_loaded(declared, schema_of_module):
    if schema_of_module is None:
        pytest.skip("no PostgreSQL")
    assert "2 table(s): orders, orders_archive" in declared.said
    assert (declared.defs / "warehouse" / "tables.json").exists()

    query = "select count(*) from warehouse_data.orders"
    assert declared.rows("warehouse.duckdb", query) == [(2,)]
