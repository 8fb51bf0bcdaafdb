"""A load that a child process runs through `dlt_assets`, and that kills itself where it is told.

Children are forked from a server that has everything imported, so that a death costs a second.
The points of death are put around dlt's own steps, in the child; the product knows nothing of them.
"""

import contextlib
import functools
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import dlt

from loadsmith.assets.decorator import dlt_assets
from loadsmith.assets.run import DagsterDltResource

POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"
MARIADB = "mysql+pymysql://root@127.0.0.1:3306"

#: Rows of each resource in each batch, over PAGES pages.
ROWS, PAGES = 60, 3

#: Where a run can be killed, in the order in which a run gets there.
POINTS = (
    "first page",
    "last page",
    "extract committed",
    "extract ended",
    "normalize committing",
    "normalize committed",
    "load begins",
    "first job done",
    "append job done",
    "merge job done",
    "load committed",
    "load archived",
    "first event",
    "acknowledged",
)

#: From here on everything was extracted and kept, so that a run that follows uses it.
EXTRACTED = POINTS.index("extract committed")


@dataclass(frozen=True)
class Shop:
    """Where a load works, where it goes, and what it is called."""

    folder: Path
    destination: str
    dataset: str
    pipeline_name: str = "shop"
    machine: str = "m0"
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def pipelines_dir(self) -> Path:
        return self.folder / self.machine

    def make_destination(self) -> Any:
        if self.destination == "duckdb":
            return dlt.destinations.duckdb(str(self.folder / "shop.duckdb"))
        if self.destination == "postgres":
            return dlt.destinations.postgres(POSTGRES)
        if self.destination == "mariadb":
            return dlt.destinations.sqlalchemy(f"{MARIADB}/{self.dataset}")
        if self.destination == "sqlite":
            return dlt.destinations.sqlalchemy(f"sqlite:///{self.folder / 'shop.db'}")
        return dlt.destinations.filesystem((self.folder / "files").as_uri())

    def make_pipeline(self) -> Any:
        return dlt.pipeline(
            self.pipeline_name,
            destination=self.make_destination(),
            dataset_name=self.dataset,
            pipelines_dir=str(self.pipelines_dir),
        )

    def note(self, text: str) -> None:
        with (self.folder / "calls").open("a") as file:
            file.write(text + "\n")

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.is_file() else []

    def read(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Return the rows of a table, sorted."""
        names = ", ".join(columns)
        if self.destination == "postgres":
            import psycopg2

            connection = psycopg2.connect(POSTGRES)
            try:
                cursor = connection.cursor()
                cursor.execute(f'SELECT {names} FROM "{self.dataset}"."{table}"')
                return sorted(cursor.fetchall())
            finally:
                connection.close()
        if self.destination == "mariadb":
            import pymysql

            with (
                pymysql.connect(host="127.0.0.1", user="root") as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(f"SELECT {names} FROM `{self.dataset}`.`{table}`")
                return sorted(cursor.fetchall())
        if self.destination == "sqlite":
            import sqlite3

            path = self.folder / f"shop__{self.dataset}.db"
            with contextlib.closing(sqlite3.connect(path)) as connection:
                return sorted(connection.execute(f'SELECT {names} FROM "{table}"').fetchall())
        import duckdb

        if self.destination == "duckdb":
            with duckdb.connect(str(self.folder / "shop.duckdb")) as connection:
                return sorted(
                    connection.execute(f'SELECT {names} FROM "{self.dataset}"."{table}"').fetchall()
                )
        files = self.folder / "files" / self.dataset / table / "*.parquet"
        return sorted(duckdb.sql(f"SELECT {names} FROM read_parquet('{files}')").fetchall())

    def staging_datasets(self) -> list[str]:
        query = (
            "SELECT schema_name FROM information_schema.schemata"
            f" WHERE schema_name LIKE '{self.dataset}_staging%'"
        )
        if self.destination == "mariadb":
            import pymysql

            with (
                pymysql.connect(host="127.0.0.1", user="root") as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(query)
                return [name for (name,) in cursor.fetchall()]
        if self.destination == "postgres":
            import psycopg2

            connection = psycopg2.connect(POSTGRES)
            try:
                cursor = connection.cursor()
                cursor.execute(query)
                return [name for (name,) in cursor.fetchall()]
            finally:
                connection.close()
        if self.destination == "duckdb":
            import duckdb

            with duckdb.connect(str(self.folder / "shop.duckdb")) as connection:
                return [name for (name,) in connection.execute(query).fetchall()]
        return []


def make_source(shop: Shop, batch: int, die: Callable[[str], None] = lambda _point: None) -> Any:
    """Make a source with one resource of each kind; each batch has rows of its own."""

    def pages(name: str, start: int, end: int) -> Iterator[list[dict[str, Any]]]:
        def batch_of(n: int) -> int:
            return n // ROWS if name == "log" else batch

        size = (end - start) // PAGES
        for page in range(PAGES):
            shop.note(f"{batch} {name} {page}")
            first = start + page * size
            yield [
                {"id": n, "batch": batch_of(n), "items": [{"sku": f"{n}-{k}"} for k in range(2)]}
                for n in range(first, first + size)
            ]
            if name == "events":
                die("first page" if page == 0 else "last page" if page == PAGES - 1 else "")

    @dlt.resource(write_disposition="append")
    def events() -> Any:
        """New rows with each batch, and no cursor: a row that is extracted twice is there twice."""
        yield from pages("events", batch * ROWS, (batch + 1) * ROWS)

    @dlt.resource(write_disposition="append")
    def log(at: Any = dlt.sources.incremental("id", initial_value=-1)) -> Any:
        """All rows with each batch, and a cursor that leaves out those of the earlier ones."""
        yield from pages("log", 0, (batch + 1) * ROWS)

    @dlt.resource(write_disposition="merge", primary_key="id")
    def orders() -> Any:
        """The same rows with each batch, changed."""
        yield from pages("orders", 0, ROWS)

    @dlt.resource(write_disposition="replace")
    def stock() -> Any:
        """The same rows with each batch, changed; the rows before are to go."""
        yield from pages("stock", 0, ROWS)

    return dlt.source(lambda: (events, log, orders, stock), name="shop", section="shop")()


def broken_once(tmp_path, *, disposition, pages=2):
    """A source of two resources, of which one breaks in its last page the first time."""
    marker = tmp_path / "broken"

    @dlt.source(name="shop")
    def shop():
        @dlt.resource(write_disposition=disposition, primary_key="id")
        def good():
            with (tmp_path / "calls").open("a") as file:
                file.write("good\n")
            yield [{"id": n} for n in range(10)]

        @dlt.resource(write_disposition=disposition, primary_key="id")
        def bad():
            for page in range(pages):
                yield [{"id": page * 10 + n} for n in range(10)]
            if not marker.exists():
                marker.touch()
                raise ValueError("the last row is broken")

        return good, bad

    return shop


def loads_of(shop, source, *, retries=0, pipeline=None, **params):
    @dlt_assets(
        dlt_source=source,
        dlt_pipeline=pipeline or shop.make_pipeline,
        name="shop_load",
        retry_policy=dg.RetryPolicy(max_retries=retries) if retries else None,
    )
    def shop_load(context: dg.AssetExecutionContext, loads: DagsterDltResource):
        yield from loads.run(context=context, **params)

    return dg.Definitions(
        assets=[shop_load],
        jobs=[dg.define_asset_job("shop_job", [shop_load])],
        resources={"loads": DagsterDltResource()},
    )


def make_keeping_job() -> dg.JobDefinition:
    """Make the job that Dagster re-executes: it imports this function by name."""
    folder, dataset, disposition = os.environ["SHOP"].split("|")
    source = broken_once(Path(folder), disposition=disposition)
    defs = loads_of(Shop(Path(folder), "duckdb", dataset), source, on_error="keep")
    return defs.resolve_job_def("shop_job")


def expected(batches: int, *, merges: bool = True) -> dict[str, list[tuple[Any, ...]]]:
    """Return what is in the destination when each batch was loaded once.

    Files cannot be merged into, so that dlt appends to them what is to be merged.
    """
    last = batches - 1
    grown = [(n, n // ROWS) for n in range(batches * ROWS)]
    return {
        "events": grown,
        "log": grown,
        "orders": [(n, k) for n in range(ROWS) for k in ([last] if merges else range(batches))],
        "stock": [(n, last) for n in range(ROWS)],
    }


def found(shop: Shop) -> dict[str, list[tuple[Any, ...]]]:
    """Return what is in the root tables."""
    return {name: shop.read(name, "id", "batch") for name in expected(1)}


def found_nested(shop: Shop) -> dict[str, list[str]]:
    """Return what is in the nested tables, by key; each hangs from a root row."""
    result = {}
    for name in expected(1):
        roots = {key for (key,) in shop.read(name, "_dlt_id")}
        rows = shop.read(f"{name}__items", "sku", "_dlt_parent_id")
        assert {parent for _, parent in rows} <= roots, f"{name}__items has orphans"
        result[name] = [sku for sku, _ in rows]
    return result


def expected_nested(batches: int, *, merges: bool = True) -> dict[str, list[str]]:
    """Return the keys of the nested rows when each batch was loaded once."""
    return {
        name: sorted(f"{n}-{k}" for n, _ in rows for k in range(2))
        for name, rows in expected(batches, merges=merges).items()
    }


def run_batch(
    shop: Shop,
    batch: int,
    die: Callable[[str], None] = lambda _point: None,
    *,
    partition: str | None = None,
    partitions_def: Any = None,
    source: Any = None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    """Load one batch through `dlt_assets`, as a run of Dagster."""

    @dlt_assets(
        dlt_source=source or (lambda: make_source(shop, batch, die)),
        dlt_pipeline=shop.make_pipeline,
        partitions_def=partitions_def,
        name="shop_load",
    )
    def shop_load(context: dg.AssetExecutionContext, loads: DagsterDltResource) -> Any:
        for event in loads.run(context=context, **dict(shop.options)):
            die("first event")
            yield event
        die("acknowledged")

    return dg.materialize(
        [shop_load],
        resources={"loads": DagsterDltResource()},
        partition_key=partition,
        raise_on_error=False,
        **options,
    )


# -- children -------------------------------------------------------------------------------


def in_child(
    function: Callable[..., Any], *args: Any, output: Path | None = None, is_daemon: bool = False
) -> multiprocessing.Process:
    """Start a function in a process of its own that has everything imported.

    One that is a daemon may have no children, as the workers of Celery.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killing_preload"])
    process = context.Process(target=_child, args=(output, function, *args), daemon=is_daemon)
    # The server imports before it is told the path of its parent, and is silent when it cannot.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent), before)))
    try:
        process.start()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return process


def _child(output: Path | None, function: Callable[..., Any], *args: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if output is not None:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
    success = function(*args)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if success in (None, True) else 1)


def load_batches(
    shop: Shop, batches: tuple[int, ...], killed_at: str | None, keeps_runs: bool = False
) -> bool:
    """Load batches one after the other; die at a point of the last one.

    Dagster forgets its runs unless `keeps_runs` says so.
    """
    with contextlib.ExitStack() as stack:
        options = {}
        if keeps_runs:
            home = shop.folder / "dagster_home"
            home.mkdir(exist_ok=True)
            instance = dg.DagsterInstance.local_temp(str(home))
            options["instance"] = stack.enter_context(instance)
        return _load_batches(shop, batches, killed_at, **options)


def _load_batches(
    shop: Shop, batches: tuple[int, ...], killed_at: str | None, **options: Any
) -> bool:
    for batch in batches:
        point = killed_at if batch == batches[-1] else None
        die = killer(point)
        with_points(die)
        if not run_batch(shop, batch, die, **options).success:
            return False
    return True


def killer(point: str | None) -> Callable[[str], None]:
    """Return a function that kills this process when it is called with that point."""

    def die(here: str) -> None:
        if point is not None and here == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return die


def with_points(die: Callable[[str], None]) -> None:
    """Put the points of death around dlt's own steps, in this process."""
    from dlt.common.storages import LoadStorage, PackageStorage
    from dlt.extract.extract import Extract
    from dlt.load.load import Load
    from dlt.pipeline.pipeline import Pipeline

    from loadsmith.engine.once.ledger_sql import SqlFence

    def around(owner: Any, name: str, *, before: Any = None, after: Any = None) -> None:
        own = getattr(owner, name)
        own = getattr(own, "__wrapped_by_test__", own)

        @functools.wraps(own)
        def step(*args: Any, **kwargs: Any) -> Any:
            for point in before(*args) if callable(before) else (before,):
                die(point)
            result = own(*args, **kwargs)
            for point in (after,):
                die(point)
            return result

        step.__wrapped_by_test__ = own
        setattr(owner, name, step)

    def job_points(_storage: Any, _load_id: str, file_name: str, *_args: Any) -> list[str]:
        if file_name.startswith("_dlt"):
            return []
        if file_name.startswith(("events.", "rows.")):
            return ["first job done", "append job done"]
        if file_name.startswith("orders") and ".sql" in file_name:
            return ["first job done", "merge job done"]
        return ["first job done"]

    around(Extract, "commit_packages", after="extract committed")
    around(Pipeline, "extract", after="extract ended")
    around(
        LoadStorage,
        "commit_new_load_package",
        before="normalize committing",
        after="normalize committed",
    )
    around(SqlFence, "hold", after="claim held")
    around(Pipeline, "load", before="load begins")
    around(Load, "complete_package", before="package completing")
    around(PackageStorage, "complete_job", before=job_points)
    around(LoadStorage, "complete_load_package", before="load committed", after="load archived")
    replace = getattr(os.replace, "__wrapped_by_test__", os.replace)

    def replace_file(source: Any, target: Any, **kwargs: Any) -> None:
        if str(target).endswith("schemas/shop.schema.json"):
            die("schema written")
        replace(source, target, **kwargs)

    replace_file.__wrapped_by_test__ = replace  # type: ignore[attr-defined]
    os.replace = replace_file


def events_of(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Return the metadata of what a run materialized, by asset."""
    return {
        event.materialization.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.all_events
        if event.event_type_value == "ASSET_MATERIALIZATION"
    }


def read_json_lines(path: Path) -> list[Any]:
    """Return the values of a file with one JSON value per line."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def load_own_ids(shop: Shop, batch: int, killed_at: str | None) -> bool:
    """Append rows whose `_dlt_id` is the same with each batch; die at a point."""

    def rows() -> Any:
        yield [
            {"_dlt_id": f"own-{n}", "batch": batch, "items": [{"sku": f"{batch}-{n}", "sub": [1]}]}
            for n in range(5)
        ]

    die = killer(killed_at)
    with_points(die)
    source = dlt.resource(rows, name="rows")
    return run_batch(shop, batch, die, source=lambda: source).success
