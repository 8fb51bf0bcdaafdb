"""A dg project in tmp_path, built and run in this process."""

import itertools
import json
import os
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster.components.core.component_tree import ComponentTree, ComponentTreeException

_numbers = itertools.count(1)


class Project:
    """A project with one defs folder; its package has a name of its own, as modules are cached."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.package = f"project_{next(_numbers)}"
        self.defs = root / "src" / self.package / "defs"
        self.defs.mkdir(parents=True)
        for folder in (self.defs, self.defs.parent):
            (folder / "__init__.py").write_text("")
        (root / "dg.toml").write_text(
            f'directory_type = "project"\n\n[project]\nroot_module = "{self.package}"\n'
        )

    def write(self, path: str, text: str) -> Path:
        """Write a file below the defs folder."""
        file = self.defs / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def tree(self) -> ComponentTree:
        """Return the component tree, modules of the project read anew."""
        for name in [name for name in sys.modules if name.partition(".")[0] == self.package]:
            del sys.modules[name]
        return ComponentTree.for_project(self.root)

    def definitions(self) -> dg.Definitions:
        """Build all definitions."""
        return self.tree().build_defs()

    def asset_keys(self) -> set[str]:
        """Return the keys of all assets that can be materialized."""
        graph = self.definitions().resolve_asset_graph()
        return {key.to_user_string() for key in graph.materializable_asset_keys}

    def failure(self) -> str:
        """Return why the definitions cannot be built: the texts of the error and its causes."""
        with pytest.raises(ComponentTreeException) as caught:
            self.asset_keys()
        texts, error = [], caught.value
        while error is not None:
            texts.append(str(error))
            error = error.__cause__
        return "\n".join(texts)

    def materialize(self, *selection: str, **options: Any) -> dg.ExecuteInProcessResult:
        """Materialize assets by key, or all of them."""
        job = self.definitions().resolve_implicit_global_asset_job_def()
        keys = [dg.AssetKey.from_user_string(key) for key in selection]
        return job.execute_in_process(asset_selection=keys or None, **options)

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Query a DuckDB file in the project's root."""
        with duckdb.connect(str(self.root / database), read_only=True) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    root = tmp_path / "project"
    root.mkdir()
    made = Project(root)
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root / "src"))
    for name in ("LOADSMITH_PROFILE", "DAGSTER_CLOUD_DEPLOYMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == made.package]:
        del sys.modules[name]


LOADS_PY = """
    import dlt


    @dlt.resource(primary_key="id", write_disposition="merge")
    def orders():
        yield [{"id": 1, "amount": 10}, {"id": 2, "amount": 20}]


    @dlt.resource(write_disposition="replace")
    def customers():
        yield [{"id": 7, "name": "Ada"}]


    @dlt.source
    def shop():
        return orders, customers


    def make_shop():
        return shop()


    def make_pipeline():
        return dlt.pipeline(pipeline_name="shop", destination="duckdb", dataset_name="shop_data")


    shop_source = shop()
    shop_pipeline = make_pipeline()
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project whose folder `ingest` has a loads.py with a source and a pipeline."""
    project.write("ingest/loads.py", LOADS_PY)
    return project


class Api:
    """A REST API on this machine that wants a token, and remembers what it was asked."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.asked: list[str] = []
        api = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.asked.append(self.path)
                if self.headers.get("Authorization") != f"Bearer {api.token}":
                    self.send_error(401)
                    return
                name = self.path.strip("/").partition("?")[0]
                rows = [{"id": 1, "name": f"{name} one"}, {"id": 2, "name": f"{name} two"}]
                body = json.dumps(rows).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@contextmanager
def serve_api() -> Iterator[Api]:
    made = Api(token="s3cr3t-of-the-api")
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def api_of_module() -> Iterator[Api]:
    with serve_api() as made:
        yield made


@pytest.fixture
def api() -> Iterator[Api]:
    with serve_api() as made:
        yield made


POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"


@contextmanager
def make_schema() -> Iterator[str]:
    """Make a schema of one's own in a real PostgreSQL, with two tables."""
    import psycopg2

    try:
        connection = psycopg2.connect(POSTGRES, connect_timeout=3)
    except psycopg2.OperationalError as error:
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            raise
        pytest.skip(f"no PostgreSQL: {error}")
    connection.autocommit = True
    schema = f"component_{os.getpid()}_{next(_numbers)}"
    with connection.cursor() as cursor:
        cursor.execute(f"create schema {schema}")
        cursor.execute(f"create table {schema}.orders (id int primary key, amount numeric(10, 2))")
        cursor.execute(f"create table {schema}.orders_archive (id int primary key)")
        cursor.execute(f"insert into {schema}.orders values (1, 10.50), (2, 20.25)")
        cursor.execute(f"insert into {schema}.orders_archive values (9)")
    yield schema
    with connection.cursor() as cursor:
        cursor.execute(f"drop schema {schema} cascade")
    connection.close()


@pytest.fixture(scope="module")
def schema_of_module() -> Iterator[str | None]:
    """The schema of a module whose other tests need no PostgreSQL, or None."""
    with ExitStack() as opened:
        try:
            schema = opened.enter_context(make_schema())
        except pytest.skip.Exception:
            schema = None
        yield schema


@pytest.fixture
def database() -> Iterator[str]:
    with make_schema() as schema:
        yield schema
