import csv
import io
import itertools
import json
import os
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg
import pymysql
import pytest

from loadsmith import build_definitions
from loadsmith.engine.workspace import refuse_writing
from loadsmith.errors import SelectionError

WORKFLOW = Path("odp_config/workflows/shop.yaml")
POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"

SOURCE = """
import dlt
from decimal import Decimal


@dlt.source
def shop():
    @dlt.resource
    def orders():
        for number in range(3):
            yield {
                "id": number, "at": "2024-01-01T00:00:00Z", "price": Decimal("1.50"),
                "note": "5 % off: sure", "key": "tok-4711-secret", "items": [{"product": "a"}],
            }

    return orders
"""


@contextmanager
def postgres(_folder):
    dataset = f"loadsmith_show_{uuid.uuid4().hex[:10]}"
    try:
        server = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            raise
        pytest.skip("needs PostgreSQL on 127.0.0.1:5432")
    with server:
        try:
            yield (
                {"destination": "postgres", "destination_params": {"credentials": POSTGRES}},
                dataset,
            )
        finally:
            server.execute(f"DROP SCHEMA IF EXISTS {dataset} CASCADE")


@contextmanager
def mariadb(_folder):
    dataset = f"loadsmith_show_{uuid.uuid4().hex[:10]}"
    try:
        server = pymysql.connect(host="127.0.0.1", user="root", autocommit=True)
    except pymysql.err.OperationalError:
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            raise
        pytest.skip("needs MariaDB on 127.0.0.1:3306")
    with server, server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {dataset}")
        try:
            address = f"mysql+pymysql://root@127.0.0.1:3306/{dataset}"
            yield (
                {
                    "destination": "sqlalchemy",
                    "destination_params": {"credentials": address},
                },
                dataset,
            )
        finally:
            cursor.execute(f"DROP DATABASE {dataset}")


@contextmanager
def server_of(kind):
    if kind is postgres:
        with psycopg.connect(POSTGRES, autocommit=True) as server:
            yield server.execute
        return
    with (
        pymysql.connect(host="127.0.0.1", user="root", autocommit=True) as server,
        server.cursor() as cursor,
    ):
        yield cursor.execute


@contextmanager
def duckdb_file(folder):
    path = str(folder / "warehouse.duckdb")
    yield {"destination": "duckdb", "destination_params": {"database": path}}, "raw"


@contextmanager
def sqlite(folder):
    params = {"credentials": f"sqlite:///{folder / 'warehouse.db'}"}
    yield {"destination": "sqlalchemy", "destination_params": params}, "raw"


@contextmanager
def files(folder):
    params = {"bucket_url": str(folder / "lake")}
    yield {"destination": "filesystem", "destination_params": params}, "raw"


@contextmanager
def jsonl(folder):
    params = {"bucket_url": str(folder / "lake")}
    yield (
        {
            "destination": "filesystem",
            "destination_params": params,
            "run_params": {"loader_file_format": "jsonl"},
        },
        "raw",
    )


def write_workflow(load, dataset, **settings):
    params = {"source_module": "shop.source", "pipeline_params": {"dataset_name": dataset}, **load}
    entry = {"asset_key": "shop/orders", "task_type": "dlt", "params": params, **settings}
    WORKFLOW.write_text(json.dumps({"assets": [entry]}))


def out(call, *arguments):
    done = call(*arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def load_all():
    graph = build_definitions("odp_config").resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = graph.execute_in_process(instance=instance)
    assert result.success
    return {
        event.materialization.asset_key.to_user_string(): event.materialization.metadata
        for event in result.get_asset_materialization_events()
    }


@pytest.mark.parametrize(
    "kind",
    [
        duckdb_file,
        sqlite,
        files,
        jsonl,
        pytest.param(postgres, marks=pytest.mark.postgres),
        mariadb,
    ],
    ids=lambda kind: kind.__name__,
)
def test_rows_are_shown_of_every_destination_and_nothing_is_written(
    shop, call, kind, tmp_path, monkeypatch
):
    Path("dlt_project/shop/source.py").write_text(SOURCE)
    monkeypatch.setenv("SHOP__API_KEY", "tok-4711-secret")
    with kind(tmp_path) as (load, dataset):
        write_workflow(load, dataset)
        early = call("show", "shop/orders")
        assert early.exit_code == 1
        assert "nothing is loaded yet" in early.stderr
        load_all()

        rows = json.loads(out(call, "show", "shop/orders", "--limit", "2", "--json"))
        assert len(rows) == 2
        assert set(rows[0]) == {"id", "at", "price", "note", "key"}
        assert rows[0]["at"].startswith("2024-01-01")
        assert float(rows[0]["price"]) == 1.5
        assert {row["key"] for row in rows} == {"***"}
        shown = out(call, "show", "shop/orders", "--limit", "2")
        assert "there are more" in shown
        assert "4711" not in shown

        query = "SELECT count(*) AS n, ':x % y' AS t FROM orders o, orders__items i"
        answer = out(call, "show", "shop/orders", "--sql", query, "--csv")
        assert list(csv.reader(io.StringIO(answer))) == [["n", "t"], ["9", ":x % y"]]

        refused = call("show", "shop/orders", "--sql", "DELETE FROM orders")
        assert refused.exit_code == 1
        assert refused.stderr.startswith("--sql: ")
        unknown = call("show", "shop/orders", "--sql", "SELECT * FROM ordes")
        assert unknown.exit_code == 1
        assert "ordes" in unknown.stderr
        assert len(json.loads(out(call, "show", "shop/orders", "--json"))) == 3


def test_a_preview_leaves_out_columns_with_all_below_them_and_hides_secrets(
    shop, call, tmp_path, monkeypatch
):
    monkeypatch.setenv("SHOP__API_KEY", "tok-4711-secret")
    Path("dlt_project/shop/source.py").write_text(
        "import dlt\n\n\n@dlt.source\ndef shop():\n    @dlt.resource\n    def orders():\n"
        "        yield {'id': 1, 'eMail': 'a@b.c', 'address': {'city': 'Ulm', 'zip': '89'},\n"
        "               'note': 'a | <b>*' + 'x' * 200, 'key': 'tok-4711-secret',\n"
        "               'items': [{'product': 'p', 'buyer': {'name': 'Ada'}}]}\n\n"
        "    return orders\n"
    )
    with files(tmp_path) as (load, dataset):
        schema = {"version": 1, "engine_version": 11, "name": "shop", "tables": {
            "orders": {"resource": "orders", "columns": {"id": {"data_type": "bigint"}}},
            "orders__items": {"parent": "orders", "columns": {"product": {"data_type": "text"}}},
        }, "settings": {}, "normalizers": {
            "names": "snake_case", "json": {"module": "dlt.common.normalizers.json.relational"},
        }}  # fmt: skip
        Path("dlt_project/shop.schema.json").write_text(json.dumps(schema))
        load["schema_file_path"] = "shop.schema.json"
        exclude = ["eMail", "address", "buyer*"]
        write_workflow(load, dataset, preview={"rows": 3, "exclude": exclude})
        pages = load_all()
        orders = pages["shop/orders"]["preview"].value
        assert orders.splitlines()[0] == "| id | note | key |"
        assert "Ulm" not in orders
        assert "4711" not in orders
        assert "| 1 | a \\| \\<b\\>\\*xxx" in orders
        assert "x" * 110 not in orders
        items = pages["shop/orders__items"]["preview"].value
        assert items.splitlines() == ["| product |", "| --- |", "| p |"]
        write_workflow(load, dataset, preview={"rows": 3, "exclude": ["items"]})
        assert "preview" not in load_all()["shop/orders__items"]
        write_workflow(load, dataset, preview={"rows": 3, "exlude": ["items"]})
        assert "exclude" in call("check").stderr


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "mysql", "sqlite", "tsql", None])
def test_a_query_that_would_do_more_than_read_is_refused(dialect):
    for query in (
        "SELECT * FROM orders",
        "WITH few AS (SELECT 1 AS n) SELECT n FROM few UNION ALL SELECT 2",
        'SELECT "update", "drop" FROM orders' if dialect != "mysql" else "SELECT 'drop'",
        "SELECT 1;",
    ):
        refuse_writing(query, dialect)
    for statement in (
        "DELETE FROM orders",
        "DROP TABLE orders",
        "SELECT 1; DELETE FROM orders",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        "INSERT INTO orders (id) VALUES (7)",
        "UPDATE orders SET id = 1",
        "CREATE TABLE other AS SELECT * FROM orders",
        "SELECT * INTO other FROM orders",
        "SELECT * FROM orders FOR UPDATE",
        "TRUNCATE TABLE orders",
        "COPY orders TO 'file'",
        "ATTACH 'x.db' AS x",
        "SET search_path = x",
        "COMMIT",
        "CALL remove_all()",
        "GRANT ALL ON orders TO x",
        "VACUUM",
        "SELECT '",
        "",
    ):
        with pytest.raises(SelectionError, match=r"^--sql: "):
            refuse_writing(statement, dialect)


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        pytest.param(postgres, "SELECT nextval('numbers')", marks=pytest.mark.postgres),
        (mariadb, "SELECT nextval(numbers)"),
    ],
    ids=("postgres", "mariadb"),
)
def test_the_database_itself_refuses_what_a_function_would_write(shop, call, tmp_path, kind, query):
    with kind(tmp_path) as (load, dataset), server_of(kind) as execute:
        write_workflow(load, dataset)
        load_all()
        execute(f"CREATE SEQUENCE {dataset}.numbers")
        refused = call("show", "shop/orders", "--sql", query)
        assert refused.exit_code == 1, refused.stdout
        assert "read" in refused.stderr.lower()
        assert "only" in refused.stderr.lower()
        # The refusal is of the transaction alone.
        assert len(json.loads(out(call, "show", "shop/orders", "--json"))) == 3
        execute(f"DROP SEQUENCE {dataset}.numbers")


def test_a_key_that_is_not_there_has_a_close_match_and_a_task_is_named(shop, call):
    wrong = call("show", "shop/order")
    assert wrong.exit_code == 1
    assert "Did you mean 'shop/orders'" in wrong.stderr
    assert call("show", "shop/orders", "--json", "--csv").exit_code == 2
    assert call("show", "shop/orders", "elsewhere").stderr.startswith("elsewhere: there is no such")


def test_an_asset_whose_tables_are_chosen_by_row_names_them(shop, call):
    Path("dlt_project/shop/source.py").write_text(
        "import dlt\n\n\n@dlt.source\ndef shop():\n"
        "    @dlt.resource(table_name=lambda row: row['kind'])\n"
        "    def orders():\n        yield [{'kind': 'small'}, {'kind': 'large'}]\n\n"
        "    return orders\n"
    )
    params = {"database": "data/warehouse.duckdb"}
    write_workflow({"destination": "duckdb", "destination_params": params}, "raw")
    load_all()
    asked = call("show", "shop/orders")
    assert asked.exit_code == 1
    assert "large" in asked.stderr


def test_a_partition_with_a_dataset_of_its_own_is_named(shop, call):
    write_workflow(
        {
            "destination": "duckdb",
            "destination_params": {"database": "data/warehouse.duckdb"},
            "pipeline_params": {"dataset_name": "raw_{{context.partition_key}}"},
        },
        "raw",
    )
    text = json.loads(WORKFLOW.read_text())
    text["partitions"] = [
        {"assets": ["shop/orders"], "params": {"type": "static", "keys": ["a", "b"]}}
    ]
    WORKFLOW.write_text(json.dumps(text))
    assert call("run", "shop/orders", "-p", "b").exit_code == 0
    assert len(json.loads(out(call, "show", "shop/orders", "-p", "b", "--json"))) == 3
    assert "nothing is loaded yet" in call("show", "shop/orders", "-p", "a").stderr
    assert "context.partition_key" in call("show", "shop/orders").stderr


PROJECT = """
type: loadsmith.DltLoadCollectionComponent
attributes:
  loads:
    - source_module: .shop_source.shop
      resources: [orders]
      destination: duckdb
      destination_params: {database: data/warehouse.duckdb}
      pipeline_params: {pipeline_name: shop, dataset_name: raw}
"""

DECORATED = """
import dlt
from loadsmith import ConfigurableDltResource, DagsterDltFactory, DagsterDltResource, dlt_assets
import dagster as dg


@dlt.source
def own():
    return dlt.resource([{"id": 1}], name="numbers")


@dlt_assets(
    dlt_source=own(),
    dlt_pipeline=dlt.pipeline(
        "own", destination=dlt.destinations.duckdb("data/warehouse.duckdb"), dataset_name="own"
    ),
)
def load_own(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
    yield from dlt.run(context=context)


@dg.definitions
def defs():
    made = DagsterDltFactory.build_definitions(
        [ConfigurableDltResource.config(dlt.resource([{"id": 2}], name="made.letters"))],
        destination=dlt.destinations.duckdb("data/warehouse.duckdb"),
    )
    own = dg.Definitions(assets=[load_own], resources={"dlt": DagsterDltResource()})
    return dg.Definitions.merge(own, made)
"""

_numbers = itertools.count(1)


def test_all_doors_of_a_dg_project_are_shown(tmp_path, monkeypatch, call):
    package = f"shown_project_{next(_numbers)}"
    root = tmp_path / "project"
    defs = root / "src" / package / "defs"
    (defs / "shop").mkdir(parents=True)
    for folder in (defs, defs.parent):
        (folder / "__init__.py").touch()
    (root / "dg.toml").write_text(
        f'directory_type = "project"\n\n[project]\nroot_module = "{package}"\n'
    )
    (defs / "shop" / "shop_source.py").write_text(SOURCE)
    (defs / "shop" / "defs.yaml").write_text(PROJECT)
    (defs / "own.py").write_text(DECORATED)
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", list(sys.path))
    from loadsmith.cli.dg_project import build_project

    job = build_project(root).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
    assert json.loads(out(call, "show", "dlt_own_numbers", "--json")) == [{"id": 1}]
    assert json.loads(out(call, "show", "made/raw/letters", "--json")) == [{"id": 2}]
    rows = json.loads(out(call, "show", "raw/orders", "--json"))
    assert [row["id"] for row in rows] == [0, 1, 2]
    wrong = call("show", "raw/order")
    assert "Did you mean 'raw/orders'" in wrong.stderr
    assert "loadsmith list" in wrong.stderr
