"""References to sources: what is found, what is said when not, and that projects stay apart."""

import os
import sys
import textwrap
import threading
from pathlib import Path

import dlt
import pytest

from loadsmith.engine.normalizing import ROW_GROUP
from loadsmith.engine.sources import make_source, source_problems
from loadsmith.errors import ResolveError, SecretNotFound
from loadsmith.model import SourceReference
from loadsmith.testing import sources as awkward


def write(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return str(folder)


@pytest.fixture
def project(tmp_path):
    def make(name: str) -> str:
        folder = tmp_path / name
        (folder / "github").mkdir(parents=True)
        (folder / "github" / "__init__.py").write_text("")
        return write(
            folder,
            github__pages=f"""
                NAME = {name!r}
                def walk():
                    import github.deep
                    from github import deep
                    assert github.deep is deep
                    return deep.VALUE
            """,
            github__deep=f"VALUE = 'deep in {name}'",
            github__source="""
                import dlt
                from github.pages import NAME

                @dlt.source
                def github(repo: str = "a/b"):
                    @dlt.resource
                    def pulls():
                        from github.pages import walk
                        from .deep import VALUE
                        yield {"project": NAME, "deep": walk(), "relative": VALUE, "repo": repo}
                    return pulls
            """,
        )

    return make


def reference(module: str, search_path: str | None = None, **params) -> SourceReference:
    return SourceReference(module=module, search_path=search_path, params=params)


def test_a_module_with_one_source_is_enough(project):
    source = make_source(reference("github.source", project("one"), repo="x/y"))
    assert source.name == "github"
    assert source.section == "source"
    assert list(source) == [
        {"project": "one", "deep": "deep in one", "relative": "deep in one", "repo": "x/y"}
    ]


def test_the_function_can_be_named_itself(project):
    assert make_source(reference("github.source.github", project("one"))).name == "github"


def test_two_projects_with_a_package_of_one_name_do_not_meet(project):
    path, modules = list(sys.path), set(sys.modules)
    one = make_source(reference("github.source", project("one")))
    two = make_source(reference("github.source", project("two")))
    assert [row["deep"] for row in two] == ["deep in two"]
    assert [row["deep"] for row in one] == ["deep in one"]
    assert sys.path == path
    assert "github" not in set(sys.modules) - modules


def test_projects_load_side_by_side_in_threads(project, tmp_path):
    rows = {}

    def load(name):
        source = make_source(reference("github.source", paths[name]))
        pipeline = dlt.pipeline(
            f"p_{name}",
            pipelines_dir=str(tmp_path / "p"),
            destination=dlt.destinations.duckdb(str(tmp_path / f"{name}.duckdb")),
        )
        pipeline.run(source)
        with pipeline.sql_client() as client:
            rows[name] = client.execute_sql("SELECT project, deep FROM pulls")

    paths = {name: project(name) for name in ("one", "two")}
    threads = [threading.Thread(target=load, args=(name,)) for name in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows == {name: [(name, f"deep in {name}")] for name in paths}


def test_a_folder_without_init_is_a_package_too(tmp_path):
    path = write(
        tmp_path,
        shop__source="""
            import dlt
            from shop import prices
            @dlt.source
            def shop():
                return dlt.resource([{"p": prices.P}], name="p")
        """,
        shop__prices="P = 7",
    )
    assert list(make_source(reference("shop.source", path))) == [{"p": 7}]


def test_a_folder_does_not_hide_an_installed_package(tmp_path):
    path = write(
        tmp_path,
        yaml__source="""
            import dlt
            import yaml
            @dlt.source
            def s():
                return dlt.resource([{"a": yaml.safe_load("1")}], name="p")
        """,
    )
    assert list(make_source(reference("yaml.source", path))) == [{"a": 1}]


def test_several_sources_in_a_module_are_listed(tmp_path):
    path = write(
        tmp_path,
        shop="""
            import dlt
            @dlt.source
            def eu(): return dlt.resource([1], name="a")
            @dlt.source
            def us(): return dlt.resource([1], name="a")
        """,
    )
    with pytest.raises(ResolveError, match=r"has 2 sources.*shop\.eu, shop\.us"):
        make_source(reference("shop", path))


def test_resources_beside_the_one_source_do_not_compete(tmp_path):
    path = write(
        tmp_path,
        shop="""
            import dlt
            @dlt.resource
            def orders(): yield {"id": 1}
            @dlt.transformer
            def lines(order): yield {"id": 2}
            @dlt.source
            def everything(): return orders, orders | lines
        """,
    )
    assert make_source(reference("shop", path)).name == "everything"


def test_a_module_without_a_source_names_its_resources(tmp_path):
    path = write(
        tmp_path,
        shop="""
            import dlt
            @dlt.resource
            def orders(): yield {"id": 1}
        """,
    )
    with pytest.raises(ResolveError, match=r"no function with `@dlt.source`.*shop\.orders"):
        make_source(reference("shop", path))
    assert list(make_source(reference("shop.orders", path))) == [{"id": 1}]


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("github.sorce", "'source'"),
        ("githup.source", "'github.source'"),
        ("github", "github.source"),
        ("github.source.gitub", "'github'"),
        ("rest_apl", "'rest_api'"),
        ("filesystem.readrs", "'filesystem.readers'"),
        ("not a path", "dotted path"),
    ],
)
def test_a_wrong_reference_shows_what_there_is(project, module, hint):
    with pytest.raises(ResolveError) as caught:
        make_source(reference(module, project("one")))
    assert hint in str(caught.value)
    assert "loadsmith_project" not in str(caught.value)


def test_an_unknown_argument_is_an_error_with_the_close_match(project):
    with pytest.raises(ResolveError, match=r"no argument 'rep'. Did you mean 'repo'"):
        make_source(reference("github.source", project("one"), rep="x"))


def test_a_package_that_the_module_lacks_is_named(tmp_path):
    path = write(tmp_path, shop="import not_installed_anywhere")
    with pytest.raises(ResolveError, match="'not_installed_anywhere', which is not installed"):
        make_source(reference("shop", path))


ASKS = "import dlt.common.exceptions as known\nraise known.MissingDependencyException"


@pytest.mark.parametrize(
    ("module", "files", "command"),
    [
        ("import proto_is_missing.v1 as x", {}, "pip install proto-is-missing"),
        ("raise ModuleNotFoundError(name='proto')", {}, "pip install proto-plus"),
        ("raise ModuleNotFoundError(name='confluent_kafka.x')", {}, "pip install confluent-kafka"),
        ("raise ModuleNotFoundError(name='pymongo')", {}, 'pip install "loadsmith[mongodb]"'),
        (
            f"{ASKS}('ads', ['facebook_business>=17', 'more'])",
            {},
            'pip install "facebook_business>=17" more',
        ),
        (
            f"{ASKS}('database', ['dlt[sql_database]'])",
            {},
            'pip install "loadsmith[sql_database]"',
        ),
        ("import nothing_x", {"requirements.txt": "x"}, "pip install -r requirements.txt"),
        (
            "import nothing_x",
            {"requirements.txt": "x", "shop/requirements.txt": "y"},
            "pip install -r shop/requirements.txt",
        ),
    ],
)
def test_the_command_that_installs_a_missing_package_is_told(
    tmp_path, monkeypatch, module, files, command
):
    path = str(tmp_path)
    monkeypatch.chdir(path)
    Path("shop").mkdir()
    Path("shop/__init__.py").write_text(module)
    for name, text in files.items():
        Path(path, name).write_text(text)
    ((_, problem),) = source_problems(reference("shop", path))
    assert f"is not installed. Install it with `{command}` in the environment" in problem
    assert "Correct the module" not in problem


def test_a_module_that_is_not_python_is_named_with_its_line(tmp_path):
    path = write(tmp_path, shop="x = 1\ndef (:\n")
    with pytest.raises(ResolveError, match=r"shop\.py:2:\d+: this is not Python"):
        make_source(reference("shop", path))


@pytest.mark.parametrize("module", ["rest_api", "filesystem", "filesystem.readers"])
def test_dlts_own_sources_go_by_their_names(module, tmp_path):
    params = (
        {"client": {"base_url": "http://127.0.0.1:9"}, "resources": ["a"]}
        if module == "rest_api"
        else {"bucket_url": str(tmp_path), "file_glob": "*.csv"}
    )
    assert make_source(reference(module, str(tmp_path), **params)).resources


def test_live_sources_functions_and_resources_are_accepted():
    live = awkward.nested()
    assert make_source(lambda: live) is live
    assert make_source(lambda: awkward.nested).name == "nested"
    resource = dlt.resource([{"id": 1}], name="only")
    assert list(make_source(lambda: resource).resources) == ["only"]
    assert list(make_source(lambda: [resource]).resources) == ["only"]
    with pytest.raises(ResolveError, match="a dict is no dlt source"):
        make_source(lambda: {"a": 1})


def test_a_secret_that_a_module_reads_when_it_is_imported_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("SHOP__TOKEN", raising=False)
    path = write(tmp_path, shop="import os\nTOKEN = os.environ['SHOP__TOKEN']\n")
    with pytest.raises(SecretNotFound, match=r"Environment variable 'SHOP__TOKEN' not found"):
        make_source(reference("shop", path))


POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"


@pytest.fixture
def postgres():
    """A cursor, and the name of a schema that is there for the test."""
    import psycopg2

    try:
        connection = psycopg2.connect(POSTGRES, connect_timeout=3)
    except psycopg2.OperationalError:
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            raise
        pytest.skip("needs PostgreSQL on 127.0.0.1:5432")
    connection.autocommit = True
    name = f"ls_sql_{os.getpid()}"
    cursor = connection.cursor()
    cursor.execute(f"CREATE SCHEMA {name}")
    try:
        yield cursor, name
    finally:
        cursor.execute(f"DROP SCHEMA {name} CASCADE")
        connection.close()


@pytest.mark.postgres
def test_a_database_is_read_in_pages_that_duckdb_copies_fast_or_as_large_as_is_asked(
    postgres, monkeypatch
):
    cursor, name = postgres
    cursor.execute(f"CREATE TABLE {name}.t AS SELECT generate_series(1, {ROW_GROUP + 1}) AS id")

    def sizes(**asked):
        source = make_source(
            reference("sql_database", None, credentials=POSTGRES, schema=name, **asked)
        )
        return [len(page) for page in source.resources["t"]]

    def is_cut_at(rows, found):
        return sum(found) == ROW_GROUP + 1 and set(found[:-1]) == {rows}

    assert is_cut_at(ROW_GROUP, sizes())
    assert is_cut_at(40_000, sizes(chunk_size=40_000))
    monkeypatch.setenv("SOURCES__SQL_DATABASE__CHUNK_SIZE", "50000")
    assert is_cut_at(50_000, sizes())
