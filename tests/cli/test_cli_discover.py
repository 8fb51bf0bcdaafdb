"""`loadsmith discover`: what there is to load."""

import gc
import json
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

WORKFLOW = Path("odp_config/workflows/shop.yaml")


def found(call, *arguments):
    done = call("discover", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)}


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL, updated_at TIMESTAMP)"
        )
        connection.execute("CREATE TABLE notes (text TEXT)")
        connection.execute("CREATE VIEW recent AS SELECT * FROM orders")
    connection.close()
    return f"sqlite:///{path}"


def test_tables_of_a_database_are_listed_with_keys_and_cursors(
    tmp_path, monkeypatch, call, database
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCES__SQL_DATABASE__CREDENTIALS", database)
    tables = found(call, "sql_database")
    assert set(tables) == {"orders", "notes", "recent"}
    orders = tables["orders"]
    assert orders["columns"] == ["id", "total", "updated_at"]
    assert orders["primary_key"] == ["id"]
    assert orders["cursor"] == ["updated_at"]
    assert tables["recent"]["kind"] == "view"
    assert not any(one["loaded"] for one in tables.values())
    shown = call("discover", "sql_database")
    assert "3 things to load" in shown.stdout
    typo = call("discover", "sql_databas")
    assert typo.exit_code == 1


def test_an_asset_of_a_project_asks_its_own_source_and_marks_what_is_loaded(shop, call, database):
    params = {
        "source_module": "sql_database",
        "source_params": {"credentials": database, "table_names": ["orders"]},
        "destination": "duckdb",
    }
    WORKFLOW.write_text(
        yaml.safe_dump(
            {"assets": [{"asset_key": "shop/orders", "task_type": "dlt", "params": params}]}
        )
    )
    tables = found(call, "shop/orders")
    assert {name: one["loaded"] for name, one in tables.items()} == {
        "orders": True,
        "notes": False,
        "recent": False,
    }
    wrong = call("discover", "shop/order")
    assert "Did you mean 'shop/orders'" in wrong.stderr
    missing = call("discover", "shop/orders", "--param", "schema=nowhere")
    assert missing.exit_code == 1
    assert "'nowhere'" in missing.stderr
    assert not Path("data").exists()


def test_a_source_of_ones_own_lists_its_resources(shop, call):
    assert set(found(call, "shop/orders")) == {"orders", "customers"}


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.answers.get(self.path.partition("?")[0])
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def api():
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.answers = {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", server.answers
        server.shutdown()
    # dlt's client of APIs leaves its connections to the garbage collector.
    gc.collect()


def test_an_api_shows_its_resources_with_fields_and_what_it_says_of_itself(shop, call, api):
    address, answers = api
    answers["/v1/users"] = [{"id": 1, "name": "Ada"}]
    answers["/v1/openapi.json"] = {
        "paths": {
            "/users": {"get": {"summary": "All users"}},
            "/users/{id}/posts": {"get": {}, "post": {}},
            "/login": {"post": {}},
        }
    }
    resources = [
        {"name": "users", "primary_key": "id", "endpoint": {"path": "users"}},
        {"name": "gone", "endpoint": {"path": "gone"}},
        {"name": "posts", "endpoint": {"path": "users/{resources.users.id}/posts"}},
    ]
    params = {
        "source_module": "rest_api",
        "source_params": {"client": {"base_url": address}, "resources": resources},
        "destination": "duckdb",
    }
    WORKFLOW.write_text(
        yaml.safe_dump(
            {"assets": [{"asset_key": "shop/users", "task_type": "dlt", "params": params}]}
        )
    )
    everything = json.loads(call("discover", "shop/users", "--json").stdout)
    resources = {one["name"]: one for one in everything if one["kind"] == "resource"}
    assert resources["users"]["columns"] == ["id", "name"]
    assert resources["users"]["loaded"] is True
    assert resources["users"]["detail"] == "GET users"
    assert "404" in resources["gone"]["detail"]
    assert resources["posts"]["detail"].endswith("for each row of users")
    endpoints = {one["detail"] for one in everything if one["kind"] == "endpoint"}
    assert endpoints == {"GET /users; All users", "GET /users/{id}/posts"}


def test_an_api_without_a_description_shows_the_links_of_its_root(tmp_path, monkeypatch, call, api):
    monkeypatch.chdir(tmp_path)
    address, answers = api
    answers["/v1/"] = {"users_url": f"{address}/users", "version": "1", "docs": "https://x.y/z"}
    endpoints = found(call, "rest_api", "--param", f"client={{base_url: '{address}'}}")
    assert {name: one["detail"] for name, one in endpoints.items()} == {"users_url": "GET users"}
    silent = call("discover", "rest_api", "--param", "client={base_url: 'http://127.0.0.1:1'}")
    assert silent.exit_code == 1
    assert "127.0.0.1" in silent.stderr


def test_files_are_grouped_by_folder_and_kind(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.csv", "in/b.csv", "in/deep/c.jsonl.gz"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("id\n1\n")
    groups = found(call, "filesystem", "--param", "bucket_url=in")
    assert {name: one["detail"].partition(",")[0] for name, one in groups.items()} == {
        "*.csv": "2 files",
        "deep/*.jsonl.gz": "1 file",
    }
    assert call("discover", "filesystem", "--param", "bucket_url").exit_code == 2
