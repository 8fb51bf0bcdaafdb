"""The error of a run tells the cause that a person can act on; each row is a real failure."""

import gc
import http.server
import socket
import textwrap
import threading
import warnings

import pytest

from loadsmith.engine.run import run_load
from loadsmith.errors import RunError, SecretNotFound
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunRequest,
    SourceReference,
)

FIX_SOURCE, FIX_CAUSE = "Fix the source and run again.", "Fix the cause and run again."


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Bound and not listening: who connects is refused.
        yield taken.getsockname()[1]


@pytest.fixture
def api():
    """Serve 503 for every address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(503, "back at noon")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def told(tmp_path):
    """Run a source with a resource `rows` and return the text of its error."""

    def run(body, hints="", destination=None, request=None, raises=RunError):
        text = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
        module = (
            "import dlt\n\n@dlt.source\ndef shop():\n"
            f"    @dlt.resource({hints})\n    def rows():\n{text}\n    return rows\n"
        )
        (tmp_path / "shop.py").write_text(module)
        definition = LoadDefinition(
            name="shop",
            source=SourceReference(module="shop", search_path=str(tmp_path)),
            destination=destination
            or DestinationReference(name="duckdb", params={"database": str(tmp_path / "a.duckdb")}),
            pipeline=PipelineSettings(
                pipeline_name="shop", dataset_name="raw", pipelines_dir=str(tmp_path / "pipelines")
            ),
        )
        with (
            pytest.raises(raises) as caught,
            run_load(definition, request or RunRequest(run_id="r")),
        ):
            pass
        assert "s3cr3t" not in str(caught.value)
        return str(caught.value)

    yield run
    # dlt leaves a file of Arrow tables open where their schemas differ.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


CAUSES = {
    "a column that must not be null": (
        "yield [{'id': n, 'title': None if n == 7 else 'x'} for n in range(20)]",
        "columns={'title': {'data_type': 'text', 'nullable': False}}",
        (
            "resource 'rows', table 'rows': CannotCoerceNullException: In schema `shop`: Cannot"
            " coerce NULL in table `rows` column `title` which is not nullable."
        ),
        "Fix the rows or the table and run again.",
    ),
    "tables of different schemas": (
        "import pyarrow as pa\nyield pa.table({'a': [1]})\nyield pa.table({'a': ['x']})",
        "",
        "Set `data_writer.arrow_concat_promote_options`",
        FIX_CAUSE,
    ),
    "a cursor of another type": (
        "for value in (1, 'x'):\n    yield {'id': value}",
        "incremental=dlt.sources.incremental('id')",
        "IncrementalCursorInvalidCoercion: In processing pipe `rows`: Could not coerce",
        FIX_CAUSE,
    ),
    "the source's own mistake": (
        "yield 1 / 0",
        "",
        "ZeroDivisionError: division by zero.",
        FIX_SOURCE,
    ),
    "an error because of another one": (
        """
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise RuntimeError("page 3 is damaged") from error
        yield
        """,
        "",
        "RuntimeError: page 3 is damaged, because of ZeroDivisionError: division by zero.",
        FIX_SOURCE,
    ),
    "an error while another one is handled": (
        """
        try:
            next(iter([]))
        except StopIteration:
            import not_installed_anywhere
        yield
        """,
        "",
        "ModuleNotFoundError: No module named 'not_installed_anywhere'.",
        "Install it with `pip install not-installed-anywhere` and run again.",
    ),
    "the end of an iterator": (
        "yield {'id': 1}\nnext(iter([]))",
        "",
        "RuntimeError: generator raised StopIteration.",
        FIX_SOURCE,
    ),
    "a package that dlt asks for": (
        """
        from dlt.common.exceptions import MissingDependencyException
        try:
            import not_installed_anywhere
        except ModuleNotFoundError:
            raise MissingDependencyException("ads source", ["facebook_business>=17"])
        yield
        """,
        "",
        "MissingDependencyException: You must install additional dependencies to run `ads source`.",
        'Install it with `pip install "facebook_business>=17"` and run again.',
    ),
    "what a library does not take": (
        "import json\nyield json.loads('{')",
        "",
        "JSONDecodeError: Expecting property name enclosed in double quotes",
        FIX_SOURCE,
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_that_a_person_can_act_on_is_told(told, name):
    body, hints, cause, advice = CAUSES[name]
    text = told(body, hints)
    assert cause in text
    assert advice in text
    assert "no message" not in text
    assert text.count("and run again") == 1


@pytest.mark.parametrize(
    "body",
    [
        "import requests\nyield requests.get('http://me:s3cr3t@127.0.0.1:PORT/things?key=s3cr3t-2')",
        "import httpx\nyield httpx.get('http://127.0.0.1:PORT/things')",
        "from urllib.request import urlopen\nyield urlopen('http://127.0.0.1:PORT/things')",
    ],
)
def test_an_api_that_is_down_is_named_with_its_address(told, monkeypatch, closed_port, body):
    monkeypatch.setenv("SHOP_TOKEN", "s3cr3t")
    monkeypatch.setenv("SHOP_KEY", "s3cr3t-2")
    text = told(body.replace("PORT", str(closed_port)))
    assert (
        f"Check that the system of the source at http://127.0.0.1:{closed_port}/things can be"
        " reached, and run again." in text
    )
    assert "Fix the source" not in text


def test_a_socket_that_is_refused_is_named_with_its_address(told, closed_port):
    text = told(f"import socket\nyield socket.create_connection(('127.0.0.1', {closed_port}))")
    assert f"the source at 127.0.0.1:{closed_port} can be reached" in text


def test_an_api_that_answers_with_an_error_is_not_the_sources_fault(told, api):
    text = told(
        f"import requests\nrequests.get('http://127.0.0.1:{api}/x').raise_for_status()\nyield"
    )
    assert f"HTTPError: 503 Server Error: back at noon for url: http://127.0.0.1:{api}/x" in text
    assert FIX_CAUSE in text


def _postgres(credentials):
    return DestinationReference(name="postgres", params={"credentials": credentials})


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("postgresql://me:s3cr3t@127.0.0.1:CLOSED/x", "Connection refused"),
        ("postgresql://nobody_of_that_name:s3cr3t@127.0.0.1:5432/postgres", "role"),
        ("postgresql://postgres:s3cr3t@127.0.0.1:5432/no_database", "does not exist"),
        ("postgresql://postgres:s3cr3t@no-such-host.invalid:5432/x", "no-such-host"),
    ],
)
def test_a_destination_that_cannot_be_used_is_named_with_its_secret(
    told, monkeypatch, closed_port, address, says
):
    address = address.replace("CLOSED", str(closed_port))
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address)
    text = told("yield {'id': 1}", destination=DestinationReference(name="postgres"))
    assert text.startswith("load 'shop', sync: OperationalError: ")
    assert says in text
    assert (
        "Check the destination 'postgres', and its credentials in"
        " DESTINATION__POSTGRES__CREDENTIALS, and run again." in text
    )
    assert "source" not in text


KEY = "DESTINATION__FILESYSTEM__CREDENTIALS"
S3 = {
    "DESTINATION__FILESYSTEM__BUCKET_URL": "s3://bucket/x",
    f"{KEY}__AWS_ACCESS_KEY_ID": "me",
    f"{KEY}__AWS_SECRET_ACCESS_KEY": "s3cr3t",
    f"{KEY}__ENDPOINT_URL": "http://127.0.0.1:CLOSED",
}
MARIADB = "DESTINATION__SQLALCHEMY__CREDENTIALS"
BIGQUERY = "DESTINATION__BIGQUERY__CREDENTIALS"

#: Destination, settings of the environment, what the error says, and what it advises to check.
NO_DESTINATION = {
    "a port of MariaDB": (
        "sqlalchemy",
        {MARIADB: "mysql+pymysql://me:s3cr3t@127.0.0.1:CLOSED/x"},
        "Can't connect to MySQL server on '127.0.0.1' ([Errno 111] Connection refused)",
        f"'sqlalchemy', and its credentials in {MARIADB}",
    ),
    "a host of MariaDB": (
        "sqlalchemy",
        {MARIADB: "mysql+pymysql://me:s3cr3t@no-such-host.invalid:3306/x"},
        "no-such-host.invalid",
        f"'sqlalchemy', and its credentials in {MARIADB}",
    ),
    "S3 that is down": (
        "filesystem",
        S3,
        "EndpointConnectionError: Could not connect to the endpoint URL",
        f"'filesystem', and its credentials in {KEY}",
    ),
    "a folder that cannot be made": (
        "filesystem",
        {"DESTINATION__FILESYSTEM__BUCKET_URL": "file:///proc/x"},
        "No such file or directory: '/proc/x'",
        "'filesystem'",
    ),
    "a key of BigQuery that is none": (
        "bigquery",
        {
            f"{BIGQUERY}__PROJECT_ID": "p",
            f"{BIGQUERY}__CLIENT_EMAIL": "me@example.com",
            f"{BIGQUERY}__PRIVATE_KEY": "s3cr3t",
        },
        "Unable to load PEM file",
        f"'bigquery', and its credentials in {BIGQUERY}",
    ),
}


@pytest.mark.parametrize("case", NO_DESTINATION)
def test_other_destinations_that_cannot_be_used_are_named_too(told, monkeypatch, closed_port, case):
    name, settings, says, advice = NO_DESTINATION[case]
    module = {"sqlalchemy": "pymysql", "bigquery": "google.cloud.bigquery", "filesystem": "s3fs"}
    pytest.importorskip(module[name])
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value.replace("CLOSED", str(closed_port)))
    text = told("yield {'id': 1}", destination=DestinationReference(name=name))
    assert text.startswith("load 'shop', sync: ")
    assert says in text
    assert f"Check the destination {advice}, and run again." in text
    assert "source" not in text


def test_files_in_the_cloud_without_credentials_name_the_secrets_that_are_missing(
    told, monkeypatch
):
    pytest.importorskip("s3fs")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", "s3://bucket/x")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    text = told(
        "yield {'id': 1}",
        destination=DestinationReference(name="filesystem"),
        raises=SecretNotFound,
    )
    assert f"'{KEY}__AWS_ACCESS_KEY_ID' not found (nor {KEY}__AWS_SECRET_ACCESS_KEY)" in text


def test_the_variable_of_a_workflow_file_is_the_secret_that_is_named(told, closed_port):
    address = f"postgresql://me:s3cr3t@127.0.0.1:{closed_port}/x"
    request = RunRequest(run_id="r", variables={"env.SHOP_DATABASE": address})
    text = told("yield {'id': 1}", destination=_postgres(address), request=request)
    assert "and its credentials in SHOP_DATABASE, and run again." in text


def test_credentials_in_the_file_itself_are_named_as_such(told, closed_port):
    text = told("yield", destination=_postgres(f"postgresql://me:s3cr3t@127.0.0.1:{closed_port}/x"))
    assert "and its credentials in `destination_params`, and run again." in text


def test_a_database_that_is_read_is_not_the_destination(told, closed_port):
    text = told(
        f"""
        import sqlalchemy
        engine = sqlalchemy.create_engine("postgresql+psycopg2://me:s3cr3t@127.0.0.1:{closed_port}/x")
        with engine.connect() as connection:
            yield {{"id": 1}}
        """
    )
    assert f"port {closed_port} failed: Connection refused" in text
    assert "Check that the system of the source" in text
    assert "the destination" not in text
