"""`loadsmith schema --all` in a `dg` project; SQLite is the database that has to be asked."""

import sqlite3

import pytest
from click.testing import CliRunner

from loadsmith.cli import cli

DEFS = """
    type: loadsmith.DltLoadCollectionComponent

    attributes:
      loads:
        - source_module: sql_database
          source_params: {credentials: "{{ env.LETTERS_DATABASE }}"}
          destination: duckdb
          pipeline_params: {dataset_name: letters}
          snapshot_path: tables.json
"""


def _execute(project, statement):
    with sqlite3.connect(project.root / "letters.sqlite") as connection:
        connection.execute(statement)


@pytest.fixture
def letters(project, monkeypatch):
    _execute(project, "create table letters (id integer primary key)")
    monkeypatch.setenv("LETTERS_DATABASE", "")
    monkeypatch.delenv("LETTERS_DATABASE")
    url = f"sqlite:///{project.root / 'letters.sqlite'}"
    (project.root / ".env").write_text(f"LETTERS_DATABASE={url}\n")
    project.write("ingest/defs.yaml", DEFS)
    return project


def _schema(*arguments):
    return CliRunner().invoke(cli, ["schema", *arguments])


def test_the_command_line_asks_what_the_components_do_not_know(letters):
    said = _schema("--all", str(letters.defs))

    assert said.exit_code == 0, said.output
    assert "1 table(s): letters" in said.output
    assert letters.asset_keys() == {"letters/letters"}


def test_a_check_tells_what_changed_and_writes_nothing(letters):
    assert _schema("--all").exit_code == 0
    assert _schema("--all", "--check").exit_code == 0
    before = (letters.defs / "ingest" / "tables.json").read_text()

    _execute(letters, "alter table letters add column note text")
    said = _schema("--all", "--check")

    assert said.exit_code == 1
    assert "new column letters.note (text)" in said.output
    assert (letters.defs / "ingest" / "tables.json").read_text() == before


def test_a_table_that_is_gone_takes_its_asset_with_it(letters):
    _execute(letters, "create table words (id integer primary key)")
    _schema("--all")
    assert letters.asset_keys() == {"letters/letters", "letters/words"}

    _execute(letters, "drop table letters")
    assert "table 'letters' is gone" in _schema("--all").output
    assert letters.asset_keys() == {"letters/words"}


def test_mistakes_of_a_component_are_text_with_a_place(letters):
    letters.write("ingest/defs.yaml", DEFS.replace("sql_database", "sql_datbase"))
    said = _schema("--all")
    assert said.exit_code == 1
    assert "ingest/defs.yaml:" in said.output
    assert "Traceback" not in said.output

    letters.write("ingest/defs.yaml", DEFS)
    assert "--all also asks" in _schema("letters/letters").output


def test_a_project_that_has_nothing_to_ask_says_so(shop):
    shop.write(
        "ingest/defs.yaml",
        "type: loadsmith.DltLoadCollectionComponent\n\nattributes:\n"
        "  loads: [{source: .loads.shop_source, pipeline: .loads.shop_pipeline}]\n",
    )
    said = _schema("--all")
    assert said.exit_code == 1
    assert "no load of this project has a schema file, or has to be asked" in said.output
