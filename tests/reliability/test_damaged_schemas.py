"""Hundreds of damaged schema files, secrets and `defs.yaml` are read, or told with their line."""

import itertools
import random
import re
import shutil
import sys
import time

import dlt
import pytest
from dagster.components.core.component_tree import ComponentTree
from damaging import damage

from loadsmith.engine.run import run_load
from loadsmith.engine.schema_files import (
    ImportSchemas,
    read_schema_file,
    tables_of_schema,
    update_schema_file,
)
from loadsmith.engine.secrets.files import secret_variables
from loadsmith.engine.snapshots import read_snapshot, write_snapshot
from loadsmith.engine.sources import make_source
from loadsmith.errors import ConfigError, ResolveError, RunError
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    LoadSnapshot,
    PipelineSettings,
    ResourceSnapshot,
    RunRequest,
    SourceReference,
)

SEED = 20_261
MAX_SECONDS = 2.0

SECRETS = '''
# Of the shop
title = "x: y"

[sources.github]
api_token = "Sekret1-value"
ports = [1, 2, 3]

[destination.postgres.credentials]
password = 'Sekret2-value'
port = 5432
since = 2024-01-01T00:00:00Z

[shop]
key = """
Sekret3-value
"""
nested = {a = "Sekret4-value", b = [{c = 1}]}

[[sources.list]]
x = 1.5
'''

DEFS = """
type: loadsmith.DltLoadCollectionComponent

attributes:
  defaults:
    destination: duckdb
    destination_params: {database: shop.duckdb}
  profiles:
    prod:
      destination: postgres
  loads:
    - name: shop
      source_module: shop_source.shop
      source_params: {day: 1, names: ["a", "b"]}
      schema_file_path: shop.schema.yaml
      pipeline_params: {pipeline_name: shop, dataset_name: shop_data}
      translation:
        group_name: shop
        tags: {team: data}
      resources:
        - orders
        - customers
"""


@pytest.fixture
def schema(tmp_path):
    """A schema as dlt makes it of nested rows."""

    @dlt.resource(primary_key="id", write_disposition="merge")
    def orders():
        yield {"id": 1, "total": 1.5, "at": "2024-01-01T00:00:00Z", "items": [{"tags": ["x"]}]}

    @dlt.resource
    def customers():
        yield {"id": 1, "größe": "- #", "doc": {"a": {"b": 1}}}

    pipeline = dlt.pipeline("shop", destination="duckdb", pipelines_dir=str(tmp_path / "pipelines"))
    pipeline.extract(dlt.source(lambda: (orders, customers), name="shop", section="shop")())
    pipeline.normalize()
    return pipeline.default_schema


def last_line(raw: bytes) -> int:
    text = raw.decode("utf-8", "replace")
    return len(re.findall("\r\n|[\n\r\x85\u2028\u2029]", text)) + 1


def assert_all_are_told(read, refused, failures, *, at_least=10) -> None:
    print(f"seed {SEED}: {read} read, {refused} refused")  # noqa: T201 - shown with a failure
    assert not failures, f"seed {SEED}, {len(failures)}:\n" + "\n".join(failures[:20])
    # Damages that only ever destroy, or never do, would show nothing.
    assert min(read, refused) > (read + refused) * at_least // 100


def assert_damaged_are_told(schema, times, read_in, place, *, at_least=10) -> None:
    """Damage the files of a schema, and hold that each is read or told with its line.

    Args:
        schema: What the files say.
        times: How many are damaged.
        read_in: Reads the bytes of a file of a kind, `yaml` or `json`.
        place: Pattern of the file in the error, where `{kind}` is the kind.
        at_least: Percent of the files that are read, and that are refused.
    """
    texts = {"yaml": schema.to_pretty_yaml(), "json": schema.to_pretty_json()}
    random_ = random.Random(SEED)
    read = refused = 0
    failures = []
    for number in range(times):
        kind = random_.choice(list(texts))
        how, raw = damage(random_, texts[kind])
        started = time.process_time()
        try:
            read_in(kind, raw)
            read += 1
        except ResolveError as error:
            refused += 1
            told = re.match(rf"{place.format(kind=kind)}:(\d+):(\d+): .", str(error))
            if not told or not 1 <= int(told[1]) <= last_line(raw) or len(str(error)) > 2_000:
                failures.append(f"{number} {how} {kind}: {str(error)[:300]}")
        except Exception as error:  # noqa: BLE001 - that there is no other one is the promise
            failures.append(f"{number} {how} {kind}: {error!r}")
        if time.process_time() - started > MAX_SECONDS:
            failures.append(f"{number} {how} {kind}: took long")
    assert_all_are_told(read, refused, failures, at_least=at_least)


def test_damaged_schema_files_are_read_or_told_with_their_line(tmp_path, schema):
    numbers = itertools.count()

    def read_in(kind: str, raw: bytes) -> None:
        # What was read of a file is kept by its path.
        path = tmp_path / f"shop_{next(numbers)}.schema.{kind}"
        path.write_bytes(raw)
        read_schema_file(str(path), written_as=f"schemas/shop.schema.{kind}")

    assert_damaged_are_told(schema, 600, read_in, r"schemas/shop\.schema\.{kind}")


@pytest.fixture
def imports(tmp_path, monkeypatch):
    """A load that imports the schemas of a folder; the folder; a run, in a new place or again."""

    @dlt.resource(primary_key="id", write_disposition="merge")
    def orders():
        yield {"id": 1, "total": 1.5, "at": "2024-01-01T00:00:00Z", "items": [{"tags": ["x"]}]}

    @dlt.source
    def shop():
        return orders

    folder = tmp_path / "schemas" / "import"

    def run(place):
        name = f"shop_{place}"
        definition = LoadDefinition(
            name="shop",
            source=shop,
            pipeline=PipelineSettings(
                pipeline_name=name,
                dataset_name="shop_data",
                pipelines_dir=str(tmp_path / "pipelines"),
                params={
                    "import_schema_path": str(folder),
                    "export_schema_path": str(tmp_path / "schemas" / "export"),
                },
            ),
            destination=DestinationReference(
                name="duckdb", params={"credentials": str(tmp_path / f"{name}.duckdb")}
            ),
        )
        with run_load(definition, RunRequest(run_id="run")) as result:
            return result.rows_loaded

    # Whoever edits a schema begins with the one that dlt has written.
    run("again")
    shutil.copytree(tmp_path / "schemas" / "export", folder, dirs_exist_ok=True)
    return folder, run


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_damaged_imported_schemas_end_in_a_load_or_in_file_and_line(request, monkeypatch, kind):
    monkeypatch.setenv("SCHEMA__EXTERNAL_SCHEMA_FORMAT", kind)
    folder, run = request.getfixturevalue("imports")
    path = folder / f"shop.schema.{kind}"
    text = path.read_text()
    random_ = random.Random(SEED)
    read = refused = 0
    failures = []
    for number in range(30):
        how, raw = damage(random_, text)
        path.write_bytes(raw)
        started = time.process_time()
        try:
            # A pipeline that has run before imports when it is made, a new one in its extract.
            run("again" if number % 2 else f"new_{number}")
            read += 1
        except ResolveError as error:
            refused += 1
            told = re.match(rf"{re.escape(str(path))}:(\d+):(\d+): .", str(error))
            if not told or not 1 <= int(told[1]) <= last_line(raw) or len(str(error)) > 2_000:
                failures.append(f"{number} {how}: {str(error)[:300]}")
        except RunError as error:
            # It is a schema, and what it says does not fit the rows or the destination.
            refused += 1
            if f"Its schema is imported from {folder}: " not in str(error):
                failures.append(f"{number} {how}: {str(error)[:300]}")
        except Exception as error:  # noqa: BLE001 - that there is no other one is the promise
            failures.append(f"{number} {how}: {error!r}"[:600])
        if time.process_time() - started > 2 * MAX_SECONDS:
            failures.append(f"{number} {how}: took long")
    # Of a file where each line counts, few damages leave a schema.
    assert_all_are_told(read, refused, failures, at_least=4)


def test_hundreds_of_damaged_imported_schemas_are_read_or_told_with_their_line(tmp_path, schema):
    def read_in(kind: str, raw: bytes) -> None:
        (tmp_path / f"shop.schema.{kind}").write_bytes(raw)
        ImportSchemas(str(tmp_path)).read(f"shop.schema.{kind}", "shop")

    place = r".*/shop\.schema\.{kind}"
    assert_damaged_are_told(schema, 400, read_in, place, at_least=4)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("name: shop\n", "name: other\n", "`name` is 'other' and not 'shop'"),
        ("data_type: double", "data_type: duble", "is not one of: "),
        ("engine_version: ", "engine_versoin: ", "the field `engine_version` is missing."),
        ("    parent: orders\n", "    parent: order\n", "'order'"),
        ("  _dlt_pipeline_state:\n", "", "is here twice, first in line"),
        ("      seen-data: true\n", "", "`x-normalizer` is no mapping"),
        ("    parent: orders\n", "", "has a key of a parent, and no `parent`"),
        ("      inserted_at:\n", "      instered_at:\n", "`_dlt_version` is a table of dlt's own"),
    ],
)
def test_a_mistake_in_an_imported_schema_is_told_at_its_line(imports, before, after, said):
    folder, run = imports
    path = folder / "shop.schema.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    for place in ("again", "new"):
        with pytest.raises(ResolveError) as caught:
            run(place)
        told = str(caught.value)
        line = int(told.removeprefix(f"{path}:").partition(":")[0])
        assert said.replace("'", "").replace("`", "") in told.replace("'", "").replace("`", "")
        if "missing" not in said and "own" not in said:
            assert after.strip() in path.read_text().splitlines()[line - 1]
    path.write_text(text)
    assert (run("again"), run("new")) == (3, 3)


def test_a_schema_that_does_not_fit_the_rows_is_told_with_its_folder(imports):
    folder, run = imports
    path = folder / "shop.schema.yaml"
    column = "      wanted: {data_type: text, nullable: false}\n"
    path.write_text(path.read_text().replace("      total:\n", f"{column}      total:\n", 1))
    with pytest.raises(RunError, match=f"Its schema is imported from {folder}: if it was edited"):
        run("new")


def test_a_damaged_exported_schema_is_written_again(imports, tmp_path):
    _, run = imports
    path = tmp_path / "schemas" / "export" / "shop.schema.yaml"
    text = path.read_text()
    path.write_text("tables: [")
    run("new")
    assert path.read_text() == text


def test_an_import_path_that_is_a_file_is_told(imports):
    folder, run = imports
    shutil.rmtree(folder)
    folder.write_text("")
    with pytest.raises(ResolveError, match="Name the folder of the schema files"):
        run("new")


def test_damaged_snapshots_are_read_or_told_with_their_line(tmp_path, schema):
    path = tmp_path / "tables.json"
    tables = tables_of_schema(schema.to_dict())
    orders = ResourceSnapshot(name="orders", source_name="shop", tables=tables)
    snapshot = LoadSnapshot(source_name="shop", origin="source", resources=(orders,))
    write_snapshot(snapshot, str(path))
    assert read_snapshot(str(path)) == snapshot
    text = path.read_text()
    random_ = random.Random(SEED)
    read = refused = 0
    failures = []
    for number in range(400):
        how, raw = damage(random_, text)
        path.write_bytes(raw)
        try:
            read_snapshot(str(path))
            read += 1
        except ResolveError as error:
            refused += 1
            told = re.match(rf"{re.escape(str(path))}:(\d+):(\d+): .", str(error))
            if not told or not 1 <= int(told[1]) <= last_line(raw) or len(str(error)) > 2_000:
                failures.append(f"{number} {how}: {str(error)[:300]}")
        except Exception as error:  # noqa: BLE001 - that there is no other one is the promise
            failures.append(f"{number} {how}: {error!r}"[:300])
    assert_all_are_told(read, refused, failures)


def test_a_damaged_schema_file_is_not_overwritten(tmp_path, schema):
    path = tmp_path / "shop.schema.yaml"
    path.write_text("name: shop\ntables: [")
    with pytest.raises(ResolveError, match=r"shop\.schema\.yaml:2:\d+: this is not YAML"):
        update_schema_file(schema, str(path))
    assert path.read_text() == "name: shop\ntables: ["


def test_damaged_secrets_are_read_or_told_with_their_line_and_never_shown(tmp_path):
    random_ = random.Random(SEED)
    path = tmp_path / "secrets.toml"
    read = refused = 0
    failures = []
    for number in range(600):
        how, raw = damage(random_, SECRETS)
        path.write_bytes(raw)
        try:
            secret_variables([str(path)])
            read += 1
        except ConfigError as error:
            refused += 1
            (problem,) = error.problems
            if problem.file != str(path) or not 1 <= problem.line <= last_line(raw):
                failures.append(f"{number} {how}: {problem}")
            if "Sekret" in str(error):
                failures.append(f"{number} {how} shows a secret: {problem}")
        except Exception as error:  # noqa: BLE001 - that there is no other one is the promise
            failures.append(f"{number} {how}: {error!r}")
    assert_all_are_told(read, refused, failures)


def test_damaged_definitions_of_a_component_are_built_or_refused_with_their_file(
    tmp_path, monkeypatch, schema
):
    # Dagster reads the file before we do: what it refuses, it tells in words of its own, and it
    # follows aliases that repeat one another for ever.
    but = frozenset({"repeat_by_aliases", "nest_deeply"})
    package = "damaged_project"
    folder = tmp_path / "src" / package / "defs" / "ingest"
    folder.mkdir(parents=True)
    for parent in (folder.parent, folder.parent.parent):
        (parent / "__init__.py").write_text("")
    (tmp_path / "dg.toml").write_text(
        f'directory_type = "project"\n\n[project]\nroot_module = "{package}"\n'
    )
    (folder / "shop.schema.yaml").write_text(schema.to_pretty_yaml())
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    path = folder / "defs.yaml"
    random_ = random.Random(SEED)
    read = refused = ours = 0
    failures = []
    for number in range(100):
        how, raw = damage(random_, DEFS, but=but)
        path.write_bytes(raw)
        try:
            ComponentTree.for_project(tmp_path).build_defs()
            read += 1
        except Exception as error:  # noqa: BLE001 - Dagster has errors of many kinds for a file
            refused += 1
            text = told_by(error)
            if is_ours(error) or "validation error" in text:
                ours += 1
                if "defs.yaml" not in text:
                    failures.append(f"{number} {how}: {type(error).__name__}: {text[-400:]}")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    assert_all_are_told(read, refused, failures)
    assert ours > refused // 5


def told_by(error: BaseException | None) -> str:
    """Return what a person reads: the texts of an error and of its causes."""
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return "\n".join(texts)


def is_ours(error: BaseException | None) -> bool:
    """Tell whether our code found a mistake, and not Dagster before it asks us."""
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "loadsmith":
                return True
            traceback = traceback.tb_next
        error = error.__cause__
    return False


def test_a_damaged_schema_beside_a_source_is_told_with_its_line(tmp_path):
    (tmp_path / "shop.py").write_text(
        "import dlt\n\n\n@dlt.source\ndef shop():\n"
        "    return dlt.resource([{'id': 1}], name='orders')\n"
    )
    source = SourceReference(module="shop", search_path=str(tmp_path))
    path = tmp_path / "shop.schema.yaml"
    text = dlt.Schema("shop").to_pretty_yaml()
    for before, after, said in (
        ("tables:", "tables: [", r":\d+:\d+: this is not YAML"),
        ("previous_hashes:", "previous_hsahes:", r":\d+:\d+: dlt does not take this: "),
        ("data_type: text", "data_type: txet", r":\d+:\d+: dlt does not take this: "),
        ("name: shop", "name: shup", r":\d+:\d+: `name` is 'shup' and not 'shop'"),
    ):
        assert before in text
        path.write_text(text.replace(before, after, 1))
        with pytest.raises(ResolveError, match=re.escape(str(path)) + said):
            make_source(source)
    path.write_text(text)
    assert list(make_source(source).resources) == ["orders"]
