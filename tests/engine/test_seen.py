"""What a run has seen of a load is there for whoever defines it again, and only read by then."""

import json
import subprocess
import sys

import dlt
import pytest

from loadsmith.engine.run import run_load
from loadsmith.engine.snapshots import inspect_load
from loadsmith.engine.snapshots.seen import default_pipelines_dir
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    LoadSnapshot,
    PipelineSettings,
    ResourceSelection,
    RunRequest,
    SourceReference,
)

MODULE = '''
import dlt


@dlt.source(name="shop")
def shop():
    @dlt.resource(primary_key="id", write_disposition="merge")
    def users():
        """People who bought something."""
        yield [{"id": 1, "name": "Ada", "phones": [{"number": "1"}]}]

    @dlt.transformer(data_from=users, columns={"letters": {"description": "How many."}})
    def details(page):
        for user in page:
            yield {"user_id": user["id"], "letters": len(user["name"])}

    @dlt.resource
    def nothing():
        """Never anything."""
        yield from ()

    return users, details, nothing
'''


@pytest.fixture
def define(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop_seen.py").write_text(MODULE)

    def make(**settings) -> LoadDefinition:
        names = {
            "name": "shop",
            "source": SourceReference(module="shop_seen.shop", search_path=str(tmp_path)),
            "pipeline": PipelineSettings(pipeline_name="shop", dataset_name="ds"),
            "resources": ResourceSelection(include=("users", "details", "nothing")),
        }
        return LoadDefinition(
            destination=DestinationReference(
                name="duckdb", params={"database": str(tmp_path / "shop.duckdb")}
            ),
            **{**names, **settings},
        )

    yield make
    for name in [name for name in sys.modules if "shop_seen" in name]:
        del sys.modules[name]


def run(definition, *resources):
    with run_load(definition, RunRequest(run_id="r", resources=resources or None)) as result:
        return result


def look(definition) -> LoadSnapshot:
    return inspect_load(definition, may_ask_source=False)


def test_before_the_first_run_nothing_is_known_and_nothing_is_written(define, tmp_path):
    assert [found.seen for found in look(define()).resources] == [None] * 3
    assert not (tmp_path / "dlt").exists()


def test_a_run_leaves_what_it_saw(define):
    run(define())
    found = look(define())
    assert found.origin == "names"
    seen = {resource.name: resource.seen for resource in found.resources}
    assert seen["users"].description == "People who bought something."
    assert seen["users"].primary_key == ("id",)
    assert [table.name for table in seen["users"].tables] == ["users", "users__phones"]
    assert seen["details"].upstream == "users"
    columns = {column.name: column for column in seen["details"].tables[0].columns}
    assert columns["letters"].description == "How many."
    assert seen["nothing"].description == "Never anything."
    assert seen["nothing"].tables == ()
    # Which resources and tables there are is what the definition says, as before.
    assert [resource.tables for resource in found.resources] == [()] * 3


def test_a_run_of_one_resource_keeps_what_others_saw(define):
    run(define(), "users")
    run(define(), "details")
    assert {found.name: found.seen is None for found in look(define()).resources} == {
        "users": False,
        "details": False,
        "nothing": True,
    }


def test_parts_of_a_load_are_put_together(define):
    for name in ("users", "nothing"):
        part = define(
            name=f"shop__{name}",
            resources=ResourceSelection(include=(name,)),
            owns_pipeline_name=False,
        )
        run(part, name)
    found = {resource.name: resource.seen for resource in look(define()).resources}
    assert (found["users"] is None, found["nothing"] is None) == (False, False)


def test_another_source_of_the_same_pipeline_is_not_mistaken_for_it(define, tmp_path):
    run(define())
    other = define(source=SourceReference(module="elsewhere.shop", search_path=str(tmp_path)))
    assert [found.seen for found in look(other).resources] == [None] * 3


def test_a_damaged_file_is_left_out_with_a_warning_and_healed_by_the_next_run(
    define, tmp_path, caplog
):
    run(define())
    (path,) = (tmp_path / "dlt" / "pipelines" / ".loadsmith").rglob("*.json")
    path.write_text(path.read_text()[:-20])
    assert [found.seen for found in look(define()).resources] == [None] * 3
    assert "cannot be read" in caplog.text
    run(define())
    assert look(define()).resources[0].seen is not None


def test_it_is_not_written_again_where_nothing_changed(define, tmp_path):
    run(define())
    (path,) = (tmp_path / "dlt" / "pipelines" / ".loadsmith").rglob("*.json")
    before = path.stat().st_mtime_ns
    run(define())
    assert path.stat().st_mtime_ns == before


def test_a_folder_that_cannot_be_written_to_is_a_warning(define, tmp_path):
    folder = tmp_path / "dlt" / "pipelines" / ".loadsmith"
    folder.mkdir(parents=True)
    (folder / ".seen").write_text("a file in its place")
    warnings: list[str] = []
    with run_load(define(), RunRequest(run_id="r", warn=warnings.append)) as result:
        assert result.rows_loaded == 3
    assert any("could not be kept for definitions" in warning for warning in warnings)


def test_secrets_are_not_kept(define, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCES__SHOP__API_KEY", "hunter2-hunter2")
    (tmp_path / "shop_seen.py").write_text(MODULE.replace("bought something", "hunter2-hunter2"))
    run(define())
    (path,) = (tmp_path / "dlt" / "pipelines" / ".loadsmith").rglob("*.json")
    assert json.loads(path.read_text())["snapshot"]["resources"]
    assert "hunter2" not in path.read_text()


def test_a_table_that_never_had_a_row_has_the_name_that_it_will_have(define):
    result = run(define(), "nothing")
    (table,) = result.tables
    assert (table.name, table.rows_loaded, table.columns) == ("nothing", 0, ())
    assert table.destination_table_id == "ds.nothing"


@pytest.mark.parametrize(
    "environment", [{"DLT_DATA_DIR": "/tmp/elsewhere"}, {}, {"XDG_DATA_HOME": "/tmp/xdg"}]
)
def test_dlts_own_folder_is_found_without_dlt(environment, tmp_path, monkeypatch):
    for name in ("DLT_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code = (
        "import sys; from loadsmith.engine.snapshots.seen import default_pipelines_dir;"
        "print(default_pipelines_dir()); assert 'dlt' not in sys.modules"
    )
    ours = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    # dlt is imported here, and asked itself.
    assert ours == dlt.common.pipeline.get_dlt_pipelines_dir() == default_pipelines_dir()
