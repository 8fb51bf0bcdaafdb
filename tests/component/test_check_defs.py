"""`loadsmith check` in a `dg` project: mistakes of `defs.yaml` with file, line and column."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadsmith.cli import cli

DEFS = """\
type: loadsmith.DltLoadCollectionComponent

attributes:
  loads:
    - name: shop
      source: .loads.shop_source
      pipeline: .loads.shop_pipeline
      group_name: sales
"""
DECLARED = """\
type: loadsmith.DltLoadCollectionComponent

attributes:
  loads:
    - name: letters
      source_module: rest_api
      source_params:
        client: {base_url: "{{ env.LETTERS_URL }}", auth: {token: "{{ env('LETTERS_TOKEN') }}"}}
        resources: [letters]
      group_name: "{{ env.LETTERS_GROUP }}"
      destination: duckdb
"""
LEVELS = ["&a [x, x, x, x, x, x, x, x, x]"] + [
    f"&{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in itertools.pairwise("abcdefgh")
]
LAUGHS = f"[{', '.join(LEVELS)}]"


def _check(*arguments):
    return CliRunner().invoke(cli, ["check", *arguments])


def _told(*arguments):
    said = _check(*arguments)
    assert said.exit_code == 1, said.output
    assert "Traceback" not in said.output
    return [_in_defs(line) for line in said.output.splitlines()]


def _in_defs(line):
    """Return a line whose path, as one can click it, begins in the folder of the components."""
    path, colon, rest = line.partition(":")
    if not colon or not path.endswith("defs.yaml"):
        return line
    assert Path(path).is_file()
    return f"{path.partition('/defs/')[2]}:{rest}"


@pytest.fixture
def defs(shop):
    return shop.write("ingest/defs.yaml", DEFS)


@pytest.mark.parametrize("folder", [".", "src", "defs"])
def test_a_project_without_mistakes_has_assets(shop, defs, folder):
    said = _check(str(shop.defs if folder == "defs" else shop.root / folder))
    assert (said.exit_code, said.output) == (0, "No mistakes: 2 assets.\n")


def test_settings_in_pyproject_are_found_as_dagster_finds_them(shop, defs):
    (shop.root / "dg.toml").unlink()
    (shop.root / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n\n'
        f'[tool.dg.project]\nroot_module = "{shop.package}"\n'
    )
    assert _check().output == "No mistakes: 2 assets.\n"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("      group", "\tgroup", "8:1: this is not YAML: found character '\\t'"),
        ("sales", "[sales", "9:1: this is not YAML: expected ',' or ']'"),
        ("sales", "größe", "8:21: this byte is not UTF-8. Save the file as UTF-8."),
        ("sales", "sa\0les", "8:21: this character is not allowed in YAML."),
        ("sales", LAUGHS, "8:1"),
        ("sales", "sales\n      group_name: x", "9:7: the key 'group_name' is here twice"),
        ("sales", "&all [*all]", "8:25: the alias *all stands inside of what it repeats."),
        ("sales", '"\\U99999999"', "8:22: this is not YAML: no character"),
        (DEFS, "", "1:1: the file is empty."),
        (DEFS, "# nothing\n", "1:1: the file holds only comments."),
        (DEFS, f"{DEFS}---\n", "10:1: a component is a mapping."),
        ("loadsmith.", "loadsmth.", "1:7: there is no component 'loadsmth.DltLoadCollection"),
        ("attributes:", "atributes:", "3:1: there is no field 'atributes' here. Did you mean"),
        ("group_name", "grup_name", "8:7: there is no field 'grup_name' here. Did you mean"),
        ("sales", "[sales]", "8:19: `group_name` takes text, not a list. Change it."),
        ("sales", "'{{ nothing }}'", "8:19: UndefinedError: 'nothing' not found in scope"),
        ("sales", "'{{ 1 + }}'", "8:19: jinja2.exceptions.TemplateSyntaxError"),
        (".shop_source", ".shop_sauce", "6:7: source '.loads.shop_sauce': loads.py has no"),
        ("sales", "sales and more", "5:7: load 'shop': DagsterDltTranslator, resource"),
        (
            "group_name: sales",
            "partitions_def: {type: daily, start: 2024-02-31}",
            "8:23: '2024-02-31' in `start` is not a time.",
        ),
        ("group_name: sales", "translation: {tagz: {}}", "8:21: there is no field 'tagz' here."),
    ],
)
def test_a_mistake_is_told_with_file_line_and_column(shop, defs, before, after, said):
    assert before in DEFS
    defs.write_bytes(DEFS.replace(before, after).encode("latin-1"))
    (line,) = _told()
    assert line.startswith(f"ingest/defs.yaml:{said}")
    assert len(line) < 1_000


def test_all_mistakes_of_all_files_come_at_once(shop, defs):
    shop.write("more/defs.yaml", DECLARED.replace("duckdb", "dukdb"))
    shop.write("wrong/defs.yaml", DEFS.replace("name: shop", "nmae: shop").replace("sales", "[]"))
    assert [line.partition(": ")[0] for line in _told()] == [
        "more/defs.yaml:5:7",
        "wrong/defs.yaml:5:7",
        "wrong/defs.yaml:8:19",
        "3 problems.",
    ]


def test_mistakes_are_data_with_json(shop, defs):
    defs.write_text(DEFS.replace("group_name", "grup_name"))
    said = _check("--json")
    found = json.loads(said.stdout)
    assert (said.exit_code, found["ok"]) == (1, False)
    (problem,) = found["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("ingest/defs.yaml", 8, 7)


def test_templates_that_wait_for_the_run_are_no_mistakes(shop, monkeypatch):
    for name in ("LETTERS_URL", "LETTERS_TOKEN", "LETTERS_GROUP"):
        monkeypatch.delenv(name, raising=False)
    shop.write("ingest/defs.yaml", DECLARED)
    assert _check().output == "No mistakes: 1 asset.\n"


def test_a_file_may_describe_several_components(shop, defs):
    defs.write_text(f"{DEFS}---\n{DECLARED}")
    assert _check().output == "No mistakes: 3 assets.\n"
    defs.write_text(f"{DEFS}---\n{DECLARED.replace('group_name', 'grup_name')}")
    (line,) = _told()
    assert line.startswith("ingest/defs.yaml:19:7: there is no field 'grup_name' here.")


def test_a_subclass_of_a_project_is_checked_as_ours(shop, defs):
    shop.write(
        "ingest/own.py",
        "from loadsmith import DltLoadCollectionComponent\n\n\n"
        "class Loads(DltLoadCollectionComponent):\n    pass\n",
    )
    module = f"{shop.package}.defs.ingest.own"
    defs.write_text(DEFS.replace("loadsmith.DltLoadCollectionComponent", f"{module}.Loads"))
    assert _check().output == "No mistakes: 2 assets.\n"
    defs.write_text(defs.read_text().replace("group_name", "grup_name"))
    assert _told()[0].startswith("ingest/defs.yaml:8:7: there is no field 'grup_name' here.")


def test_other_components_are_only_looked_at_for_being_there(shop, defs):
    shop.write(
        "other/component.py", "import dagster as dg\n\n\nclass Other(dg.Component):\n    pass\n"
    )
    other = shop.write("other/defs.yaml", "type: .component.Other\nattributes: {any: thing}\n")
    assert _check().output == "No mistakes: 2 assets.\n"
    other.write_text("type: .component.Other\nattributes: {any: [thing}\n")
    assert _told()[0].startswith("other/defs.yaml:2:25: this is not YAML")
    other.write_text("type: .component.Another\n")
    assert _told()[0].startswith("other/defs.yaml:1:7: there is no component '.component.Another'.")


def test_files_below_a_component_are_its_own(shop, defs):
    shop.write("ingest/data/defs.yaml", "[")
    assert _check().output == "No mistakes: 2 assets.\n"


def test_a_damaged_schema_file_and_a_missing_one_are_told(shop):
    shop.write("ingest/tables.yaml", "name: shop\ntables: [\n")
    text = DECLARED.replace("group_name", "schema_file_path: tables.yaml\n      group_name")
    defs = shop.write("ingest/defs.yaml", text)
    assert "tables.yaml:3:1: this is not YAML" in _told()[0]
    defs.write_text(text.replace("tables.yaml", "tabels.yaml"))
    assert _told()[0].startswith("ingest/defs.yaml:5:7: load 'letters': Schema file not found at")


def test_a_declared_source_is_imported_when_asked_deeply(shop):
    text = DECLARED.replace("source_module: rest_api", "source_module: .sauce.letters")
    shop.write("ingest/tables.yaml", "name: x\ntables: {letters: {columns: {}}}\n")
    text = text.replace("group_name", "schema_file_path: tables.yaml\n      group_name")
    shop.write("ingest/defs.yaml", text)
    assert _check().output == "No mistakes: 1 asset.\n"
    (line,) = _told("--deep")
    assert line.startswith("ingest/defs.yaml:5:7: load 'letters': source ")
    assert "there is no such module" in line


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("dg.toml", 'directory_type = "project', "dg.toml:1:1: this is not TOML: "),
        ("dg.toml", '[project]\nroot_module = "größe"\n', "dg.toml:2:18: this byte is not UTF-8."),
        ("dg.toml", '[project]\nroot_module = "nothing_here"\n', "module `nothing_here`"),
        (".env", "NAME=größe\n", ".env:1:8: this byte is not UTF-8."),
    ],
)
def test_settings_of_the_project_that_cannot_be_read_are_told(shop, defs, file, text, said):
    (shop.root / file).write_bytes(text.encode("latin-1"))
    assert said in _told()[0]


def test_asking_the_sources_tells_of_damaged_files_first(shop, defs):
    defs.write_text(DEFS.replace("sales", "[sales"))
    said = CliRunner().invoke(cli, ["schema", "--all"])
    assert said.exit_code == 1
    assert _in_defs(said.output).startswith("ingest/defs.yaml:9:1: this is not YAML")


def test_a_new_project_is_checked_without_being_installed(tmp_path):
    command = [str(Path(sys.executable).parent / "loadsmith")]
    made = [*command, "init", "bakery", "--layout", "dg", "--yes"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    folder = tmp_path / "bakery"
    assert "loadsmith check" in (folder / "README.md").read_text()
    done = subprocess.run([*command, "check"], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "No mistakes: 3 assets.\n"), done.stderr
