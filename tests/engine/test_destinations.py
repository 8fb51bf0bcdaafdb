"""Settings become destinations, and the fast file format gives what dlt's default gives."""

import os

import dlt
import pytest

from loadsmith.dlt_names import destination_names
from loadsmith.engine.destinations import (
    check_destination,
    destination_dataset,
    destination_problems,
    exact,
    make_destination,
    table_locations,
    traits,
)
from loadsmith.engine.normalizing import arrow_normalizer
from loadsmith.errors import ResolveError
from loadsmith.model import DestinationReference
from loadsmith.testing import sources as awkward

POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"


def refer(name: str, base_path=None, search_path=None, **params) -> DestinationReference:
    return DestinationReference(
        name=name,
        params=params,
        base_path=str(base_path) if base_path else None,
        search_path=str(search_path) if search_path else None,
    )


@pytest.fixture
def postgres():
    import psycopg2

    try:
        psycopg2.connect(POSTGRES, connect_timeout=3).close()
    except psycopg2.OperationalError:
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            raise
        pytest.skip("needs PostgreSQL on 127.0.0.1:5432")
    return dlt.destinations.postgres(POSTGRES)


def test_a_relative_database_is_below_the_base_path_whatever_the_working_directory(
    tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    destination = make_destination(refer("duckdb", tmp_path, database="data/github.db"))
    found = traits(destination)
    assert found.local_path == str(tmp_path / "data" / "github.db")
    assert found.single_writer
    assert list(tmp_path.iterdir()) == [tmp_path / "elsewhere"]


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        (refer("duckdb", "/base", credentials="x.duckdb"), "/base/x.duckdb"),
        (refer("duckdb", "/base", database="/abs/x.duckdb"), "/abs/x.duckdb"),
        (refer("sqlite", "/base", database="x.db"), "/base/x.db"),
        (refer("sqlalchemy", "/base", credentials="sqlite:///x.db"), "/base/x.db"),
        (refer("sqlalchemy", "/base", credentials="sqlite:////abs/x.db"), "/abs/x.db"),
    ],
)
def test_the_file_of_a_local_database_is_known_before_it_is_there(reference, path):
    found = traits(make_destination(reference))
    assert (found.local_path, found.single_writer) == (path, True)


def test_servers_have_many_writers_and_no_file():
    found = traits(make_destination(refer("postgres", credentials=POSTGRES)))
    assert (found.destination_type, found.single_writer, found.local_path) == (
        "postgres",
        False,
        None,
    )


def test_parts_of_credentials_are_gathered():
    destination = make_destination(
        refer("postgres", host="h", username="u", password="p", database="d")
    )
    assert destination.config_params["credentials"] == {
        "host": "h",
        "username": "u",
        "password": "p",
        "database": "d",
    }


def test_a_bucket_url_can_be_a_path(tmp_path):
    destination = make_destination(refer("filesystem", tmp_path, bucket_url="out"))
    assert destination.config_params["bucket_url"] == str(tmp_path / "out")
    remote = make_destination(refer("filesystem", tmp_path, bucket_url="gs://bucket/x"))
    assert remote.config_params["bucket_url"] == "gs://bucket/x"


def test_project_and_dataset_mean_bigquerys():
    reference = refer("bigquery", project="p", dataset="d", location="EU")
    assert check_destination(reference) == []
    assert destination_dataset(reference) == "d"


def test_what_the_class_takes_passes_through(tmp_path):
    destination = make_destination(
        refer("duckdb", tmp_path, database="x.db", create_indexes=True, max_parallel_load_jobs=2)
    )
    assert destination.config_params["create_indexes"] is True
    assert destination.capabilities().max_parallel_load_jobs == 2


@pytest.mark.parametrize(
    ("reference", "close"),
    [
        (refer("duckdb", databse="x"), "'database'"),
        (refer("bigquery", proyect="x"), "'project_id'"),
        (refer("filesystem", bucket_uri="x"), "'bucket_url'"),
    ],
)
def test_a_parameter_that_a_destination_does_not_take_is_an_error(reference, close):
    with pytest.raises(ResolveError, match="takes no parameter") as caught:
        make_destination(reference)
    assert close in str(caught.value)
    assert check_destination(reference) == [str(caught.value)]


def test_a_misspelled_destination_is_told_without_dlt():
    assert {"duckdb", "postgres", "bigquery", "filesystem", "sqlite"} <= set(destination_names())
    (problem,) = destination_problems(refer("dukdb"))
    assert "'duckdb'" in problem
    assert destination_problems(refer("duckdb")) == []


def test_a_destination_of_the_projects_own_is_found_by_its_path(tmp_path):
    (tmp_path / "sinks.py").write_text(
        "import dlt\n"
        "seen = []\n"
        "@dlt.destination(batch_size=10)\n"
        "def keep(items, table, prefix: str = 'x'):\n"
        "    seen.extend((prefix, table['name'], item['id']) for item in items)\n"
    )
    destination = make_destination(refer("sinks.keep", search_path=tmp_path, prefix="p"))
    pipeline = dlt.pipeline("own", destination=destination, pipelines_dir=str(tmp_path / "p"))
    pipeline.run([{"id": 1}], table_name="t")
    assert pipeline.destination.config_params
    assert traits(destination).can_read is False
    with pytest.raises(ResolveError, match="Did you mean 'keep'"):
        make_destination(refer("sinks.keeep", search_path=tmp_path))


def test_a_package_that_a_destination_needs_is_named():
    with pytest.raises(ResolveError, match=r"loadsmith\[snowflake\]"):
        make_destination(refer("snowflake"))


def test_sql_tables_are_named_by_dataset_and_table(tmp_path):
    pipeline = dlt.pipeline(
        "loc",
        destination=make_destination(refer("duckdb", tmp_path, database="x.duckdb")),
        dataset_name="ds",
        pipelines_dir=str(tmp_path / "p"),
    )
    pipeline.run([{"id": 1}], table_name="Users")
    (tmp_path / "x.duckdb").unlink()
    found = table_locations(pipeline, pipeline.default_schema, ["users"])["users"]
    assert (found.table_id, found.file_uri, found.qualified_name) == (
        "ds.users",
        None,
        "ds.users",
    )
    assert not (tmp_path / "x.duckdb").exists()


def test_files_have_a_folder(tmp_path):
    pipeline = dlt.pipeline(
        "loc",
        destination=make_destination(refer("filesystem", tmp_path, bucket_url="out")),
        dataset_name="ds",
        pipelines_dir=str(tmp_path / "p"),
    )
    pipeline.run([{"id": 1}], table_name="users")
    found = table_locations(pipeline, pipeline.default_schema, ["users"])["users"]
    assert found.table_id is None
    assert found.file_uri == (tmp_path / "out" / "ds" / "users").as_uri()


def load(destination, make_source, tmp_path, dataset, file_format, *, by_column=False):
    """Load a source twice in one format; return its columns, types and values by table.

    By column is how the second load is normalized, for records are plain once their tables are
    known.
    """
    name = f"{file_format}_column" if by_column else file_format
    pipeline = dlt.pipeline(
        f"fmt_{name}",
        destination=destination,
        dataset_name=f"{dataset}_{name}",
        pipelines_dir=str(tmp_path / "p"),
    )
    pipeline.run(make_source(), loader_file_format=file_format)
    with arrow_normalizer(by_column) as report:
        pipeline.run(make_source(), loader_file_format=file_format)
    found = {}
    with pipeline.sql_client() as client:
        try:
            for table in pipeline.default_schema.data_tables():
                types = client.execute_sql(QUERY_TYPES, client.dataset_name, table["name"])
                columns = [row[0] for row in types if not row[0].startswith("_dlt")]
                listed = ", ".join(client.escape_column_name(column) for column in columns)
                rows = client.execute_sql(
                    f"SELECT {listed} FROM {client.make_qualified_table_name(table['name'])}"
                )
                plain = [
                    tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in rows
                ]
                found[table["name"]] = (types, sorted(plain, key=repr))
        finally:
            client.drop_dataset()
    assert bool(report.by_column) == by_column
    return found


QUERY_TYPES = (
    "SELECT column_name, data_type, numeric_precision, numeric_scale, is_nullable"
    " FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY 1"
)


def all_types_but_wei():
    """The awkward types that are normalized by column."""
    source = awkward.awkward_types()
    source.resources["values"].add_map(lambda row: {k: v for k, v in row.items() if k != "wei"})
    return source


PLAIN = [all_types_but_wei, awkward.nested]
SHAPES = [
    awkward.awkward_types,
    awkward.changing_types,
    awkward.nested,
    awkward.unicode_names,
]


@pytest.mark.parametrize("make_source", SHAPES, ids=lambda shape: shape.__name__)
def test_duckdbs_fast_format_gives_what_the_default_gives(make_source, tmp_path):
    fast = traits(make_destination(refer("duckdb"))).loader_file_format
    assert fast == "parquet"
    destination = dlt.destinations.duckdb(str(tmp_path / "formats.duckdb"))
    default = load(destination, make_source, tmp_path, "ds", "insert_values")
    assert load(destination, make_source, tmp_path, "ds", fast) == default


@pytest.mark.parametrize("make_source", PLAIN, ids=lambda shape: shape.__name__)
def test_duckdb_gets_by_column_what_the_default_gives(make_source, tmp_path):
    destination = dlt.destinations.duckdb(str(tmp_path / "formats.duckdb"))
    default = load(destination, make_source, tmp_path, "ds", "insert_values")
    assert load(destination, make_source, tmp_path, "ds", "parquet", by_column=True) == default


@pytest.mark.postgres
@pytest.mark.parametrize("make_source", SHAPES, ids=lambda shape: shape.__name__)
def test_postgres_fast_format_gives_what_the_default_gives(make_source, tmp_path, postgres):
    fast = exact(postgres)
    assert traits(fast).loader_file_format == "parquet"
    assert traits(postgres).loader_file_format is None
    dataset = f"ls_fmt_{tmp_path.name[-20:]}_{os.getpid()}"
    default = load(postgres, make_source, tmp_path, dataset, "insert_values")
    assert load(fast, make_source, tmp_path, dataset, "parquet") == default


@pytest.mark.postgres
@pytest.mark.parametrize("make_source", PLAIN, ids=lambda shape: shape.__name__)
def test_postgres_gets_by_column_what_the_default_gives(make_source, tmp_path, postgres):
    dataset = f"ls_col_{tmp_path.name[-20:]}_{os.getpid()}"
    default = load(postgres, make_source, tmp_path, dataset, "insert_values")
    found = load(exact(postgres), make_source, tmp_path, dataset, "parquet", by_column=True)
    assert found == default


@pytest.mark.postgres
def test_parquet_goes_into_tables_that_were_made_by_the_default_and_by_dlts_parquet(
    tmp_path, postgres
):
    for first in ("insert_values", "parquet"):
        dataset = f"ls_mix_{first}_{os.getpid()}"
        for destination, file_format in ((postgres, first), (exact(postgres), "parquet")):
            pipeline = dlt.pipeline(
                f"mix_{first}",
                destination=destination,
                dataset_name=dataset,
                pipelines_dir=str(tmp_path / "p"),
            )
            pipeline.run(awkward.awkward_types(), loader_file_format=file_format)
        with pipeline.sql_client() as client:
            rows = client.execute_sql('SELECT tree FROM "values" WHERE id = 1')
            client.drop_dataset()
        assert rows == [({"a": [1, None, {"b": "'\"\\\n"}], "ü": True},)] * 2
