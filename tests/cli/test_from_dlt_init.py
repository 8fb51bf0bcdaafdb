"""From the files of `dlt init` to rows: sources in the shapes of dlt's verified sources."""

import http.server
import json
import re
import textwrap
import threading
from pathlib import Path

import dagster as dg
import duckdb
import pytest
import tomlkit
import yaml
from dagster.components.core.component_tree import ComponentTree

HELPERS = """
    from dlt.sources.helpers import requests
    from .settings import API_URL


    def get(path, token):
        while path:
            response = requests.get(f"{API_URL}/{path}", headers={"Authorization": token})
            response.raise_for_status()
            page = response.json()
            yield page["data"]
            path = page["next"]
"""
START = "import dlt\nfrom typing import Any, Optional\nfrom .helpers import get\n\n"

#: Several functions with required arguments; resources with constant names.
GITHUB = """
    @dlt.source
    def github_reactions(owner: str, name: str, access_token: str = dlt.secrets.value):
        return (
            dlt.resource(get(f"{owner}/{name}/issues", access_token), name="issues"),
            dlt.resource(get(f"{owner}/{name}/pulls", access_token), name="pull_requests"),
        )

    @dlt.source(max_table_nesting=0)
    def github_stars(owner: str, name: str, access_token: str = dlt.secrets.value):
        return dlt.resource(get(f"{owner}/{name}/stars", access_token), name="stargazers")
"""
#: Module-level resources and a transformer, parallelized; a secret that is a table.
CHESS = """
    @dlt.source
    def chess(secret_dict: Any = dlt.secrets.value, config_int: int = dlt.config.value):
        found = players(secret_dict["token"], config_int)
        return found, found | profiles(secret_dict["token"])

    @dlt.resource(write_disposition="replace", parallelized=True)
    def players(token: str, limit: int):
        for page in get("players", token):
            yield page[:limit]

    @dlt.transformer(write_disposition="replace")
    def profiles(page: Any, token: str):
        @dlt.defer
        def profile(player):
            return {"id": player["id"], "profile": next(get("profile", token))[0]["name"]}
        for player in page:
            yield profile(player)
"""
#: The collections are asked for when the source is called.
MONGODB = """
    @dlt.source
    def mongodb(connection_url: str = dlt.secrets.value):
        for (collection,) in [next(get("collections?size=1", connection_url))]:
            yield dlt.resource(
                get("documents", connection_url), name=collection["name"], primary_key="id",
                write_disposition="merge",
            )
"""
#: Credentials with several fields.
REPLICATION = """
    from dlt.sources.credentials import ConnectionStringCredentials

    @dlt.source
    def pg_replication(
        slot_name: str = dlt.config.value,
        credentials: ConnectionStringCredentials = dlt.secrets.value,
    ):
        @dlt.resource(name="changes")
        def replicated():
            assert (credentials.host, credentials.port) == ("db.example.com", 5433)
            yield from get(f"changes?slot={slot_name}", credentials.password)
        return replicated
"""
#: A client that is made when the source is called.
NOTION = """
    class Client:
        def __init__(self, api_key):
            self.pages = next(get("me", api_key))
            self.api_key = api_key

    @dlt.source
    def notion_databases(api_key: str = dlt.secrets.value):
        client = Client(api_key)

        @dlt.resource
        def databases():
            yield from get("databases", client.api_key)
        return databases
"""
#: A cursor that is annotated as anything, in resources made in a loop.
STRIPE = """
    ENDPOINTS = ("Customer", "Invoice")

    @dlt.source
    def stripe_source(stripe_secret_key: str = dlt.secrets.value):
        def rows(
            endpoint: str,
            created: Optional[Any] = dlt.sources.incremental("id", initial_value=0),
        ):
            yield from get(endpoint, stripe_secret_key)

        for endpoint in ENDPOINTS:
            yield dlt.resource(rows, name=endpoint, write_disposition="append")(endpoint)
"""
#: A domain in the configuration.
FRESHDESK = """
    @dlt.source
    def freshdesk_source(
        domain: str = dlt.config.value, api_secret_key: str = dlt.secrets.value, per_page: int = 2
    ):
        @dlt.resource(primary_key="id", write_disposition="merge")
        def tickets(updated: Optional[Any] = dlt.sources.incremental("updated_at")):
            yield from get(f"{domain}/tickets?size={per_page}", api_secret_key)
        return tickets
"""
#: One of several credentials, as specs of the source's own.
ZENDESK = """
    from typing import Union
    from dlt.common.configuration import configspec
    from dlt.common.configuration.specs import CredentialsConfiguration
    from dlt.common.typing import TSecretStrValue

    @configspec
    class ByEmail(CredentialsConfiguration):
        subdomain: str = None
        email: str = None
        password: TSecretStrValue = None

    @configspec
    class ByToken(CredentialsConfiguration):
        subdomain: str = None
        token: TSecretStrValue = None

    @dlt.source(max_table_nesting=2)
    def zendesk_support(credentials: Union[ByEmail, ByToken] = dlt.secrets.value):
        @dlt.resource(name="ticket_events")
        def events():
            yield from get(f"{credentials.subdomain}/events", credentials.token)
        return events
"""
#: Time windows of a page, and a shop in the configuration.
SHOPIFY = """
    from dlt.common import pendulum
    from dlt.common.typing import TAnyDateTime

    @dlt.source(name="shopify")
    def shopify_source(
        private_app_password: str = dlt.secrets.value,
        shop_url: str = dlt.config.value,
        start_date: TAnyDateTime = pendulum.datetime(2000, 1, 1),
    ):
        @dlt.resource(primary_key="id", write_disposition="merge")
        def orders(
            updated_at: dlt.sources.incremental[pendulum.DateTime] = dlt.sources.incremental(
                "updated_at", initial_value=start_date, allow_external_schedulers=True
            ),
        ):
            for page in get(f"{shop_url}/orders", private_app_password):
                yield [{**row, "updated_at": pendulum.parse(row["updated_at"])} for row in page]
        return orders
"""
#: Each row chooses its table.
HUBSPOT = """
    @dlt.source(name="hubspot")
    def hubspot(api_key: str = dlt.secrets.value):
        @dlt.resource(table_name=lambda row: row["name"], columns={"id": {"data_type": "bigint"}})
        def hubspot_events():
            yield from get("events", api_key)
        return hubspot_events
"""
#: Transformers behind a pipe, and tables by name.
PIPEDRIVE = """
    @dlt.source(name="pipedrive")
    def pipedrive_source(pipedrive_api_key: str = dlt.secrets.value):
        yield leads | dlt.transformer(fields_of(pipedrive_api_key), name="custom_fields")
        yield leads

    @dlt.resource(selected=True)
    def leads(pipedrive_api_key: str = dlt.secrets.value):
        yield from get("leads", pipedrive_api_key)

    def fields_of(key):
        def fields(page):
            for row in page:
                yield dlt.mark.with_table_name({"id": row["id"]}, "custom_fields")
        return fields
"""
#: Tables with spaces in their names.
AIRTABLE = """
    @dlt.source
    def airtable_source(
        base_id: str = dlt.config.value,
        table_names: Optional[list] = None,
        access_token: str = dlt.secrets.value,
    ):
        for table in ("Sales Deals", "Größe"):
            yield dlt.resource(get(f"{base_id}/rows", access_token), name=table)
"""
#: Mappings in the configuration decide which resources there are.
MATOMO = """
    from typing import Dict, List

    @dlt.source(max_table_nesting=2)
    def matomo_reports(
        api_token: str = dlt.secrets.value, queries: List[Dict[str, Any]] = dlt.config.value
    ):
        for query in queries:
            yield dlt.resource(get(f"site/{query['site']}", api_token), name=query["resource_name"])
"""
#: Resources alone, without a source.
ASANA = """
    @dlt.resource(write_disposition="replace", primary_key="id")
    def workspaces(access_token: str = dlt.secrets.value):
        yield from get("workspaces", access_token)
"""

#: What `dlt init` writes into `secrets.toml` and `config.toml`, filled in; the code; the rows.
SHAPES = {
    "github": (GITHUB, {"github.access_token": "TOKEN"}, {}, {"issues": 4, "stargazers": 4}),
    "chess": (
        CHESS,
        {"chess.secret_dict": {"token": "TOKEN"}},
        {"chess.config_int": 1},
        {"players": 2, "profiles": 2},
    ),
    "mongodb": (MONGODB, {"mongodb.connection_url": "TOKEN"}, {}, {"row_0": 4}),
    "pg_replication": (
        REPLICATION,
        {
            "pg_replication.credentials": {
                "drivername": "postgresql",
                "database": "shop",
                "password": "TOKEN",
                "username": "loader",
                "host": "db.example.com",
                "port": 5433,
            }
        },
        {"pg_replication.slot_name": "slot"},
        {"changes": 4},
    ),
    "notion": (NOTION, {"notion.api_key": "TOKEN"}, {}, {"databases": 4}),
    "stripe": (STRIPE, {"stripe.stripe_secret_key": "TOKEN"}, {}, {"customer": 4, "invoice": 4}),
    "freshdesk": (
        FRESHDESK,
        {"freshdesk.api_secret_key": "TOKEN"},
        {"freshdesk.domain": "acme"},
        {"tickets": 4},
    ),
    "zendesk": (
        ZENDESK,
        {"zendesk.credentials": {"subdomain": "acme", "token": "TOKEN"}},
        {},
        {"ticket_events": 4},
    ),
    "shopify": (
        SHOPIFY,
        {"shopify.private_app_password": "TOKEN"},
        {"shopify.shop_url": "shop"},
        {"orders": 4},
    ),
    "hubspot": (HUBSPOT, {"hubspot.api_key": "TOKEN"}, {}, {"row_0": 2, "row_1": 2}),
    "pipedrive": (
        PIPEDRIVE,
        {"pipedrive.pipedrive_api_key": "TOKEN"},
        {},
        {"leads": 4, "custom_fields": 4},
    ),
    "airtable": (
        AIRTABLE,
        {"airtable.access_token": "TOKEN"},
        {"airtable.base_id": "app1"},
        {"sales_deals": 4},
    ),
    "matomo": (
        MATOMO,
        {"matomo.api_token": "TOKEN"},
        {"matomo.queries": [{"resource_name": "visits", "site": 7}]},
        {"visits": 4},
    ),
    "asana": (ASANA, {"asana.access_token": "TOKEN"}, {}, {"workspaces": 4}),
}


@pytest.fixture
def server():
    """Serve two pages of two rows for every path, to who has the token of the first segment."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.split("/")[1]
            if self.headers["Authorization"] != f"s3cr3t-of-{name}":
                self.send_error(401)
                return
            is_last = "page=2" in self.path
            start = 2 if is_last else 0
            rows = [
                {"id": start + at, "name": f"row_{at}", "updated_at": f"2024-01-0{start + at + 1}"}
                for at in range(1 if "size=1" in self.path else 2)
            ]
            path = self.path.split("/", 2)[2]
            more = f"{path}{'&' if '?' in path else '?'}page=2"
            text = json.dumps({"data": rows, "next": None if is_last else more})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


def _left_by_dlt_init(folder, names, server):
    """Write what `dlt init <source> duckdb` leaves for each source: nothing is filled in."""
    files = {"secrets": {}, "config": {"runtime": {"log_level": "WARNING"}}}
    for name in names:
        code, secrets, config, _ = SHAPES[name]
        package = folder / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(START + textwrap.dedent(code))
        (package / "helpers.py").write_text(textwrap.dedent(HELPERS))
        (package / "settings.py").write_text(f"API_URL = '{server}/{name}'\n")
        (folder / f"{name}_pipeline.py").write_text(
            "import dlt\n\nif __name__ == '__main__':\n"
            f"    dlt.pipeline('{name}', destination='duckdb', dataset_name='{name}_data')\n"
        )
        for kind, values in (("secrets", secrets), ("config", config)):
            for path, value in values.items():
                _put(files[kind], path, _open(value))
    (folder / ".dlt").mkdir()
    for kind, tree in files.items():
        (folder / ".dlt" / f"{kind}.toml").write_text(tomlkit.dumps(tree))
    (folder / "requirements.txt").write_text("dlt[duckdb]>=1.31\n")


def _filled_in(folder, names):
    """Write what the user of the sources fills in."""
    for kind, at in (("secrets", 1), ("config", 2)):
        path = folder / ".dlt" / f"{kind}.toml"
        tree = tomlkit.parse(path.read_text()).unwrap()
        for name in names:
            for key, value in SHAPES[name][at].items():
                text = json.dumps(value).replace("TOKEN", f"s3cr3t-of-{name}")
                _put(tree, key, json.loads(text))
        path.write_text(tomlkit.dumps(tree))


def _put(tree, path, value):
    *sections, key = f"sources.{path}".split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[key] = value


def _open(value):
    if isinstance(value, dict) and "host" in value:
        return dict.fromkeys(value, "<configure me>")
    return "<configure me>"


def _rows(database, names):
    with duckdb.connect(str(database), read_only=True) as connection:
        return {
            name: {
                table: connection.sql(f'SELECT count(*) FROM {name}_data."{table}"').fetchone()[0]
                for table in SHAPES[name][3]
            }
            for name in names
        }


def test_fourteen_sources_come_from_the_files_of_dlt_init_to_rows(
    tmp_path, monkeypatch, call, server
):
    monkeypatch.chdir(tmp_path)
    _left_by_dlt_init(tmp_path, SHAPES, server)
    written = call("init", "--from-dlt", ".")
    assert written.exit_code == 0, written.output
    assert "Wrote odp_config/workflows/github.yaml" in written.output
    assert (tmp_path / "requirements.txt").read_text() == "dlt[duckdb]>=1.31\nloadsmith\n"

    left = call("check", "--deep")
    assert left.exit_code == 1
    places = re.findall(r"^(\S+?):\d+:\d+: .*<configure me>", left.stderr, re.MULTILINE)
    assert places.count("odp_config/workflows/github.yaml") == 4
    assert places.count(".dlt/secrets.toml") >= 14
    assert places.count(".dlt/config.toml") == 6

    _filled_in(tmp_path, SHAPES)
    workflow = tmp_path / "odp_config/workflows/github.yaml"
    workflow.write_text(workflow.read_text().replace("<configure me>", "dlt"))
    asked = call("schema", "--all")
    assert asked.exit_code == 0, asked.output
    checked = call("check", "--deep")
    assert checked.exit_code == 0, checked.output
    done = call("run", "*")
    assert done.exit_code == 0, done.output
    expected = {name: shape[3] for name, shape in SHAPES.items()}
    assert _rows(tmp_path / "data/warehouse.duckdb", SHAPES) == expected
    assert "s3cr3t" not in "".join(each.output for each in (left, asked, checked, done))


def test_six_sources_come_from_the_files_of_dlt_init_to_rows_through_the_component(
    tmp_path, monkeypatch, call, server
):
    names = ["github", "chess", "pg_replication", "notion", "freshdesk", "zendesk"]
    defs = tmp_path / "src" / "ingesting" / "defs"
    folder = defs / "api"
    folder.mkdir(parents=True)
    for init in (defs, defs.parent):
        (init / "__init__.py").write_text("")
    (tmp_path / "dg.toml").write_text(
        'directory_type = "project"\n\n[project]\nroot_module = "ingesting"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    _left_by_dlt_init(folder, names, server)
    written = call("init", "--from-dlt", str(folder))
    assert written.exit_code == 0, written.output

    left = call("check", "--deep")
    assert left.exit_code == 1
    assert "src/ingesting/defs/api/.dlt/secrets.toml:" in left.stderr
    assert "argument 'owner' is still '<configure me>'" in left.stderr

    _filled_in(folder, names)
    file = folder / "defs.yaml"
    file.write_text(file.read_text().replace("<configure me>", "dlt"))
    # Neither the secrets nor the server is needed to define what has names.
    definitions = ComponentTree.for_project(tmp_path).build_defs()
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
    expected = {name: SHAPES[name][3] for name in names}
    assert _rows(tmp_path / "data/warehouse.duckdb", names) == expected


def test_a_folder_without_a_source_and_a_file_in_the_way_are_told(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    done = call("init", "--from-dlt", ".")
    assert done.exit_code == 1
    assert "no function with `@dlt.source` or `@dlt.resource` is here" in done.stderr
    Path("shop.py").write_text("import dlt\n@dlt.source\ndef shop():\n    return []\n")
    assert call("init", "--from-dlt", ".").exit_code == 0
    before = Path("odp_config/workflows/shop.yaml").read_text()
    assert yaml.safe_load(before)["assets"][0]["params"]["resources"] == ["*"]
    again = call("init", "--from-dlt", ".")
    assert again.exit_code == 1
    assert "odp_config/workflows/shop.yaml: this file is here already." in again.stderr
    assert call("init").exit_code == 2
