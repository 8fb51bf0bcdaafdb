"""Sources beside files and functions: an API that pages and refuses, collections of documents."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest
import yaml

from loadsmith import build_definitions

ISSUES = [{"id": number, "labels": [{"name": "bug"}] * (number % 2)} for number in range(1, 8)]
PAGE = 3


class Api(ThreadingHTTPServer):
    """Seven issues on three pages; every second request comes too soon."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.statuses: list[int] = []


class Answers(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        status = 429 if len(self.server.statuses) % 2 == 0 else 200
        self.server.statuses.append(status)
        page = int(self.path.partition("page=")[2] or 1)
        items = ISSUES[(page - 1) * PAGE : page * PAGE]
        body = json.dumps(items if status == 200 else {"message": "slow down"}).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "0")
        elif page * PAGE < len(ISSUES):
            url = f"http://127.0.0.1:{self.server.server_port}/issues?page={page + 1}"
            self.send_header("Link", f'<{url}>; rel="next"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def build_project(folder: Path, assets: list[dict], files: dict[str, str]) -> dg.Definitions:
    config = {"resources": [{"resource_kind": "dlt", "params": {"project_dir": "dlt_project"}}]}
    for name, text in {
        "odp_config/dagster_config.yaml": yaml.safe_dump(config),
        "odp_config/workflows/loads.yaml": yaml.safe_dump({"assets": assets}),
        "dlt_project/.keep": "",
        **files,
    }.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return build_definitions(folder / "odp_config")


def load(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, dict]:
    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance)
    return {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }


def asset(key: str, tmp_path: Path, **params: object) -> dict:
    target = {"destination": "duckdb", "destination_params": {"database": "data/tried.duckdb"}}
    return {"asset_key": key, "task_type": "dlt", "params": {**target, **params}}


def test_a_declared_api_is_paged_through_and_asked_again_when_it_refuses(tmp_path, instance, api):
    declared = {
        "client": {
            "base_url": f"http://127.0.0.1:{api.server_port}",
            "paginator": {"type": "header_link"},
        },
        "resource_defaults": {"primary_key": "id", "write_disposition": "merge"},
        "resources": [{"name": "issues", "endpoint": {"path": "issues"}}],
    }
    definitions = build_project(
        tmp_path,
        [asset("tracker/issues", tmp_path, source_module="rest_api", source_params=declared)],
        {},
    )
    assert api.statuses == [], "defining asks nobody"
    for _ in range(2):
        api.statuses.clear()
        metadata = load(definitions, instance)
        assert metadata["tracker/issues"]["rows_loaded"] == 7
        assert metadata["tracker/issues__labels"]["rows_loaded"] == 4
        assert api.statuses == [429, 200] * 3


MONGO = '''
"""Every collection of a database, a resource each, as dlt's MongoDB source has it."""

from contextlib import closing

import dlt
import mongomock
import pymongo
from bson import Decimal128, ObjectId


@dlt.source(name="mongodb")
def mongodb(database: str, connection_url: str = dlt.secrets.value):
    with connect(connection_url) as client:
        names = client[database].list_collection_names()
    for name in names:
        yield dlt.resource(
            read, name=name, primary_key="_id", write_disposition="replace"
        )(connection_url, database, name)


def connect(url):
    return closing(mock() if url == "mock" else pymongo.MongoClient(url))


def mock():
    client = mongomock.MongoClient()
    movie = client["mflix"]["movies"].insert_one(
        {"title": "Metropolis", "genres": ["Drama", "Sci-Fi"], "imdb": {"rating": 8.3, "votes": 1}}
    )
    client["mflix"]["comments"].insert_many(
        {"movie_id": movie.inserted_id, "text": f"comment {n}", "paid": Decimal128("1.10")}
        for n in range(3)
    )
    return client


def read(url, database, name):
    with connect(url) as client:
        for document in client[database][name].find():
            yield plain(document)


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Decimal128):
        return value.to_decimal()
    return str(value) if isinstance(value, ObjectId) else value
'''


def test_collections_of_documents_are_resources_with_nested_lists(tmp_path, instance):
    """mongomock stands in for a server, with the types that only MongoDB itself has."""
    shared = {
        "source_module": "mongo.source",
        "source_params": {"database": "mflix", "connection_url": "mock"},
        "pipeline_params": {"dataset_name": "mflix"},
    }
    definitions = build_project(
        tmp_path,
        [asset(f"mflix/{name}", tmp_path, **shared) for name in ("movies", "comments")],
        {"dlt_project/mongo/__init__.py": "", "dlt_project/mongo/source.py": MONGO},
    )
    for _ in range(2):
        metadata = load(definitions, instance)
        rows = {key: found["rows_loaded"] for key, found in metadata.items()}
        assert rows == {"mflix/movies": 1, "mflix/movies__genres": 2, "mflix/comments": 3}
    columns = {
        column.name: column.type
        for column in metadata["mflix/comments"]["dagster/column_schema"].columns
    }
    assert columns["_id"] == columns["movie_id"] == "text"
    assert columns["paid"].startswith("decimal")


@pytest.fixture
def mongodb(tmp_path: Path) -> Iterator[str]:
    """Serve MongoDB's protocol from SQLite, for want of a MongoDB that can be installed."""
    pytest.importorskip("nx_27017")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "nx_27017.nx_27017", "--db", "memory", "--port", str(port)]
    log = ["--log-file", str(tmp_path / "mongodb.log")]
    server = subprocess.Popen([*command, *log], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        yield f"mongodb://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def test_collections_are_read_from_a_server_whose_address_is_a_secret(tmp_path, instance, mongodb):
    pymongo = pytest.importorskip("pymongo")
    with pymongo.MongoClient(mongodb, serverSelectionTimeoutMS=60_000) as client:
        movies = [{"title": f"Part {n}", "genres": ["Drama", "Sci-Fi"]} for n in range(250)]
        client["mflix"]["movies"].insert_many(movies)
    params = {
        "source_module": "mongo.source",
        "source_params": {"database": "mflix"},
        "pipeline_params": {"dataset_name": "mflix"},
    }
    definitions = build_project(
        tmp_path,
        [asset("mflix/movies", tmp_path, **params)],
        {
            "dlt_project/mongo/__init__.py": "",
            "dlt_project/mongo/source.py": MONGO,
            "dlt_project/.dlt/secrets.toml": f'[mongodb]\nconnection_url = "{mongodb}"\n',
        },
    )
    for _ in range(2):
        metadata = load(definitions, instance)
        rows = {key: found["rows_loaded"] for key, found in metadata.items()}
        assert rows == {"mflix/movies": 250, "mflix/movies__genres": 500}
    assert mongodb not in str(metadata)
