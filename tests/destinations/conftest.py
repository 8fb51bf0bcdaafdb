"""One small shop, loaded through workflow files into whatever warehouse a test brings."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from loadsmith import build_definitions
from loadsmith.config.files import read_project
from loadsmith.model import LoadDefinition
from loadsmith.resolve import merge_definitions, resolve_asset

SOURCE = '''
"""Orders that are appended, customers that are merged, prices that are replaced."""

import dlt


@dlt.source(name="shop")
def shop(day: int = 1):
    @dlt.resource(write_disposition="append")
    def orders():
        for number in (1, 2):
            yield {"id": 10 * day + number, "total": 1.5, "items": [{"sku": "a"}, {"sku": "b"}]}

    @dlt.resource(write_disposition="merge", primary_key="id")
    def customers():
        for number in (day, day + 1):
            yield {"id": number, "name": f"name of day {day}"}

    @dlt.resource(write_disposition="replace")
    def prices():
        for number in range(4 - day):
            yield {"sku": number, "tiers": [{"least": 1}, {"least": day}]}

    return orders, customers, prices
'''

SCHEMA = """
name: shop
version: 1
version_hash: none
engine_version: 11
tables:
  orders:
    resource: orders
    columns: {id: {data_type: bigint}, total: {data_type: double}}
  orders__items: {parent: orders, columns: {sku: {data_type: text}}}
  customers:
    resource: customers
    columns: {id: {data_type: bigint, primary_key: true}, name: {data_type: text}}
  prices: {resource: prices, columns: {sku: {data_type: bigint}}}
  prices__tiers: {parent: prices, columns: {least: {data_type: bigint}}}
"""

KEYS = ("orders", "orders__items", "customers", "prices", "prices__tiers")


@dataclass(kw_only=True)
class Warehouse:
    """Somewhere to load into, and a way to look at it that is not ours.

    Attributes:
        name: dlt's name of the destination.
        rows: The rows of a table as mappings; raises whatever it likes where there is no table.
        location: What metadata say of a table, by its name.
        forget_commits: Does away with what dlt wrote when packages were complete.
        merges: Whether `merge` merges; files without a table format are appended to.
        run_params: More `run_params`, as the table format.
    """

    name: str
    params: Mapping[str, Any]
    rows: Callable[[str], list[dict[str, Any]]]
    location: Callable[[str], dict[str, str]]
    forget_commits: Callable[[], None]
    dataset: str = "shop_data"
    merges: bool = True
    run_params: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Shop:
    """The project, pointed at a warehouse."""

    folder: Path
    instance: dg.DagsterInstance
    warehouse: Warehouse
    definitions: dg.Definitions | None = None

    def build(self, day: int) -> dg.Definitions:
        asset = {
            "task_type": "dlt",
            "params": {
                "source_module": "shop.source",
                "source_params": {"day": day},
                "schema_file_path": "schemas/export/shop.schema.yaml",
                "destination": self.warehouse.name,
                "destination_params": dict(self.warehouse.params),
                "pipeline_params": {"dataset_name": self.warehouse.dataset},
                "run_params": dict(self.warehouse.run_params),
            },
        }
        files = {
            "dlt_project/shop/__init__.py": "",
            "dlt_project/shop/source.py": SOURCE,
            "dlt_project/schemas/export/shop.schema.yaml": SCHEMA,
            "odp_config/dagster_config.yaml": (
                "resources: [{resource_kind: dlt, params: {project_dir: dlt_project}}]"
            ),
            "odp_config/workflows/shop.yaml": yaml.safe_dump(
                {"assets": [{"asset_key": f"shop/{name}", **asset} for name in RESOURCES]}
            ),
        }
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text).strip() + "\n", encoding="utf-8")
        self.definitions = build_definitions(self.folder / "odp_config")
        return self.definitions

    def load(self, day: int) -> dict[str, dict[str, Any]]:
        """Load a day of the shop; return the metadata by table."""
        job = self.build(day).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=self.instance, raise_on_error=False)
        assert result.success, failure_of(result)
        return {
            event.asset_key.path[-1]: {
                name: value.value for name, value in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
        }

    def definition(self, day: int) -> LoadDefinition:
        """Return the load of all assets, to run it without Dagster."""
        self.build(day)
        files = read_project(str(self.folder / "odp_config"))
        merged = merge_definitions(resolve_asset(located, files) for located in files.assets)
        return merged[0].definition

    def counts(self) -> dict[str, int]:
        return {name: len(self.warehouse.rows(name)) for name in KEYS}


RESOURCES = ("orders", "customers", "prices")


def failure_of(result: Any) -> str:
    return "\n".join(
        event.event_specific_data.error.to_string()
        for event in result.all_events
        if event.is_step_failure
    )


def missing(what: str, error: BaseException | None = None) -> None:
    """Skip a test whose service is not there; where services are required, fail it."""
    if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
        raise AssertionError(f"this machine has no {what}, and it is required") from error
    pytest.skip(f"needs {what}")


@pytest.fixture
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, instance: dg.DagsterInstance
) -> Iterator[Shop]:
    """Open the warehouse that the test is parametrized with (`indirect=True`)."""
    openers: dict[str, Callable[[Path], Any]] = {
        "postgres": open_postgres,
        "sqlite": open_sqlite,
        "mariadb": open_mariadb,
        "files": open_files,
        "delta": open_delta,
        "iceberg": open_iceberg,
        "s3": open_s3,
        "s3_delta": open_s3_delta,
        "s3_iceberg": open_s3_iceberg,
    }
    with openers[request.param](tmp_path) as warehouse:
        yield Shop(tmp_path / "project", instance, warehouse)


POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"


@contextlib.contextmanager
def open_postgres(folder: Path) -> Iterator[Warehouse]:
    import psycopg2

    try:
        connection = psycopg2.connect(POSTGRES, connect_timeout=3)
    except psycopg2.OperationalError as error:
        missing("PostgreSQL on 127.0.0.1:5432", error)
    connection.autocommit = True
    dataset = f"shop_{uuid.uuid4().hex[:10]}"
    try:
        yield Warehouse(
            name="postgres",
            params={"credentials": POSTGRES},
            dataset=dataset,
            rows=lambda table: rows_of(connection, f'SELECT * FROM {dataset}."{table}"'),
            location=lambda table: {"dagster/table_name": f"{dataset}.{table}"},
            forget_commits=lambda: connection.cursor().execute(f"DELETE FROM {dataset}._dlt_loads"),
        )
    finally:
        for schema in (dataset, f"{dataset}_staging"):
            connection.cursor().execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        connection.close()


@contextlib.contextmanager
def open_sqlite(folder: Path) -> Iterator[Warehouse]:
    def rows(table: str) -> list[dict[str, Any]]:
        # SQLAlchemy keeps each dataset in a file of its own beside the one that is named.
        (file,) = (folder / "project" / "data").glob("*shop_data.db")
        with contextlib.closing(sqlite3.connect(file)) as connection:
            return rows_of(connection, f"SELECT * FROM {table}")

    def forget_commits() -> None:
        (file,) = (folder / "project" / "data").glob("*shop_data.db")
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("DELETE FROM _dlt_loads")

    yield Warehouse(
        name="sqlite",
        params={"database": "data/shop.db"},
        rows=rows,
        location=lambda table: {"dagster/table_name": f"shop_data.{table}"},
        forget_commits=forget_commits,
    )


@contextlib.contextmanager
def open_mariadb(folder: Path) -> Iterator[Warehouse]:
    import pymysql

    try:
        connection = pymysql.connect(host="127.0.0.1", user="root", autocommit=True)
    except pymysql.err.OperationalError as error:
        missing("MariaDB on 127.0.0.1:3306", error)
    dataset = f"shop_{uuid.uuid4().hex[:10]}"
    connection.cursor().execute(f"CREATE DATABASE {dataset}")
    try:
        yield Warehouse(
            name="sqlalchemy",
            params={"credentials": f"mysql+pymysql://root@127.0.0.1:3306/{dataset}"},
            dataset=dataset,
            rows=lambda table: rows_of(connection, f"SELECT * FROM {dataset}.{table}"),
            location=lambda table: {"dagster/table_name": f"{dataset}.{table}"},
            forget_commits=lambda: connection.cursor().execute(f"DELETE FROM {dataset}._dlt_loads"),
        )
    finally:
        for schema in (dataset, f"{dataset}_staging"):
            connection.cursor().execute(f"DROP DATABASE IF EXISTS {schema}")
        connection.close()


@contextlib.contextmanager
def open_files(folder: Path) -> Iterator[Warehouse]:
    import pyarrow.parquet

    def rows(table: str) -> list[dict[str, Any]]:
        files = (folder / "project/lake/shop_data" / table).glob("*.parquet")
        return [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]

    yield Warehouse(
        name="filesystem",
        params={"bucket_url": "lake"},
        rows=rows,
        location=lambda table: {"destination_file_uri": table_uri(folder, table)},
        forget_commits=lambda: forget_commits_in(folder),
        merges=False,
    )


@contextlib.contextmanager
def open_delta(folder: Path) -> Iterator[Warehouse]:
    import pyarrow

    deltalake = pytest.importorskip("deltalake")

    def rows(table: str) -> list[dict[str, Any]]:
        found = deltalake.DeltaTable(table_uri(folder, table))
        engine = deltalake.QueryBuilder().register("rows", found)
        return list(pyarrow.table(engine.execute("SELECT * FROM rows")).to_pylist())

    yield Warehouse(
        name="filesystem",
        params={"bucket_url": "lake"},
        run_params={"table_format": "delta"},
        rows=rows,
        location=lambda table: {"destination_file_uri": table_uri(folder, table)},
        forget_commits=lambda: forget_commits_in(folder),
    )


@contextlib.contextmanager
def open_iceberg(folder: Path) -> Iterator[Warehouse]:
    table_module = pytest.importorskip("pyiceberg.table")

    def rows(table: str) -> list[dict[str, Any]]:
        metadata = (folder / "project/lake/shop_data" / table / "metadata").glob("*.metadata.json")
        newest = max(metadata, key=lambda path: path.name)
        found = table_module.StaticTable.from_metadata(newest.as_uri())
        return list(found.scan().to_arrow().to_pylist())

    yield Warehouse(
        name="filesystem",
        params={"bucket_url": "lake"},
        run_params={"table_format": "iceberg"},
        rows=rows,
        location=lambda table: {"destination_file_uri": table_uri(folder, table)},
        forget_commits=lambda: forget_commits_in(folder),
    )


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own on a server of this machine."""

    name: str
    client: Any
    credentials: Mapping[str, str]

    @property
    def params(self) -> dict[str, Any]:
        return {"bucket_url": f"s3://{self.name}/raw", "credentials": dict(self.credentials)}

    def location(self, table: str) -> dict[str, str]:
        return {"destination_file_uri": self.uri(table)}

    def uri(self, table: str) -> str:
        return f"s3://{self.name}/raw/shop_data/{table}"

    def keys(self, table: str, ending: str) -> list[str]:
        listed = self.client.list_objects_v2(Bucket=self.name, Prefix=f"raw/shop_data/{table}/")
        keys = (entry["Key"] for entry in listed.get("Contents", ()))
        return [key for key in keys if key.endswith(ending)]

    def forget_commits(self) -> None:
        for key in self.keys("_dlt_loads", ".jsonl"):
            self.client.delete_object(Bucket=self.name, Key=key)


@contextlib.contextmanager
def open_bucket() -> Iterator[Bucket]:
    import boto3

    bucket = f"lake-{uuid.uuid4().hex[:10]}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A process of its own: Rust keeps Python's lock while it waits for an answer.
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "not a secret"}
    where = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    try:
        client = boto3.client("s3", **keys, **where)
        wait_for(port, server)
        client.create_bucket(Bucket=bucket)
        yield Bucket(bucket, client, {**keys, **where})
    finally:
        server.terminate()
        server.wait(30)


def wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("moto's server does not answer")


@contextlib.contextmanager
def open_s3(folder: Path) -> Iterator[Warehouse]:
    import pyarrow.parquet

    with open_bucket() as bucket:

        def rows(table: str) -> list[dict[str, Any]]:
            found = []
            for key in bucket.keys(table, ".parquet"):
                file = folder / "downloaded.parquet"
                bucket.client.download_file(bucket.name, key, str(file))
                found.extend(pyarrow.parquet.read_table(file).to_pylist())
            return found

        yield Warehouse(
            name="filesystem",
            params=bucket.params,
            rows=rows,
            location=bucket.location,
            forget_commits=bucket.forget_commits,
            merges=False,
        )


@contextlib.contextmanager
def open_s3_delta(folder: Path) -> Iterator[Warehouse]:
    import pyarrow

    deltalake = pytest.importorskip("deltalake")
    with open_bucket() as bucket:

        def rows(table: str) -> list[dict[str, Any]]:
            options = {
                **{name: value for name, value in bucket.credentials.items() if "aws" in name},
                "aws_endpoint": bucket.credentials["endpoint_url"],
                "aws_region": bucket.credentials["region_name"],
                "allow_http": "true",
            }
            found = deltalake.DeltaTable(bucket.uri(table), storage_options=options)
            engine = deltalake.QueryBuilder().register("rows", found)
            return list(pyarrow.table(engine.execute("SELECT * FROM rows")).to_pylist())

        yield Warehouse(
            name="filesystem",
            params=bucket.params,
            run_params={"table_format": "delta"},
            rows=rows,
            location=bucket.location,
            forget_commits=bucket.forget_commits,
        )


@contextlib.contextmanager
def open_s3_iceberg(folder: Path) -> Iterator[Warehouse]:
    table_module = pytest.importorskip("pyiceberg.table")
    with open_bucket() as bucket:

        def rows(table: str) -> list[dict[str, Any]]:
            properties = {
                "s3.endpoint": bucket.credentials["endpoint_url"],
                "s3.region": bucket.credentials["region_name"],
                "s3.access-key-id": bucket.credentials["aws_access_key_id"],
                "s3.secret-access-key": bucket.credentials["aws_secret_access_key"],
            }
            newest = max(bucket.keys(table, ".metadata.json"))
            found = table_module.StaticTable.from_metadata(
                f"s3://{bucket.name}/{newest}", properties
            )
            return list(found.scan().to_arrow().to_pylist())

        yield Warehouse(
            name="filesystem",
            params=bucket.params,
            run_params={"table_format": "iceberg"},
            rows=rows,
            location=bucket.location,
            forget_commits=bucket.forget_commits,
        )


def table_uri(folder: Path, table: str) -> str:
    return (folder / "project/lake/shop_data" / table).as_uri()


def forget_commits_in(folder: Path) -> None:
    for file in (folder / "project/lake/shop_data/_dlt_loads").glob("*.jsonl"):
        file.unlink()


def rows_of(connection: Any, sql: str) -> list[dict[str, Any]]:
    cursor = connection.cursor()
    cursor.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
