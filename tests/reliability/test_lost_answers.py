"""A connection that breaks between a commit and its answer: each row is there once, in one run."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import dlt
import pyarrow as pa
import pytest
from cutting import Proxy, proxy_of
from killing import Shop, loads_of

#: Rows of each resource, and of its nested table.
ROWS, NESTED = 20, 40

PORTS = {"postgres": 5432, "mariadb": 3306}


@dataclass
class Proxied:
    """A load that reaches its database through a proxy."""

    shop: Shop
    proxy: Proxy
    settings: dict[str, Any] = field(default_factory=dict)

    def make_pipeline(self) -> Any:
        port = self.proxy.port
        if self.shop.destination == "postgres":
            url = f"postgresql://postgres:x@127.0.0.1:{port}/postgres?sslmode=disable"
            destination = dlt.destinations.postgres(url, **self.settings)
        else:
            url = f"mysql+pymysql://root@127.0.0.1:{port}/{self.shop.dataset}"
            destination = dlt.destinations.sqlalchemy(url, **self.settings)
        return dlt.pipeline(
            "shop",
            destination=destination,
            dataset_name=self.shop.dataset,
            pipelines_dir=str(self.shop.pipelines_dir),
        )

    def run(self, *kinds: str, **params: Any) -> dg.ExecuteInProcessResult:
        """Load the resources of some kinds, as a run of Dagster."""
        defs = loads_of(
            self.shop, lambda: make_source(kinds), pipeline=self.make_pipeline, **params
        )
        job = defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(raise_on_error=False)

    def counts(self, *kinds: str) -> dict[str, tuple[int, int]]:
        """Return the rows and the distinct keys by table."""
        found = {}
        for kind in kinds:
            tables = {kind: "id"} if kind == "arrow" else {kind: "id", f"{kind}__items": "sku"}
            for table, key in tables.items():
                (found[table],) = self.shop.read(table, "count(*)", f"count(DISTINCT {key})")
        (found["_dlt_loads"],) = self.shop.read("_dlt_loads", "count(*)", "count(DISTINCT load_id)")
        return found


def make_source(kinds: tuple[str, ...]) -> Any:
    """Make a source with a resource for each kind of table."""
    rows = [{"id": n, "items": [{"sku": f"{n}-{k}"} for k in range(2)]} for n in range(ROWS)]
    made = {
        "added": dlt.resource(rows, name="added", write_disposition="append"),
        "merged": dlt.resource(rows, name="merged", write_disposition="merge", primary_key="id"),
        "keyless": dlt.resource(rows, name="keyless", write_disposition="merge"),
        "replaced": dlt.resource(rows, name="replaced", write_disposition="replace"),
        "arrow": dlt.resource([pa.table({"id": list(range(ROWS))})], name="arrow"),
    }
    return dlt.source(lambda: [made[kind] for kind in kinds], name="shop", section="shop")()


def once(*kinds: str, loads: int = 1) -> dict[str, tuple[int, int]]:
    """Return what one good run leaves."""
    expected = {"_dlt_loads": (loads, loads)}
    for kind in kinds:
        expected[kind] = (ROWS, ROWS)
        if kind != "arrow":
            expected[f"{kind}__items"] = (NESTED, NESTED)
    return expected


@pytest.fixture
def make_proxied(make_shop: Callable[..., Shop]) -> Iterator[Callable[..., Proxied]]:
    """Make loads whose database is behind a proxy."""
    opened = []

    def make(destination: str, **settings: Any) -> Proxied:
        shop = make_shop(destination)
        proxy = proxy_of(PORTS[destination])
        opened.append(proxy)
        return Proxied(shop, proxy.__enter__(), settings)

    yield make
    for proxy in opened:
        proxy.__exit__(None, None, None)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("kinds", "params", "lost"),
    [
        # A driver of its own copies Parquet. `_dlt_id` is unique; Arrow tables have none.
        (
            ("added", "merged", "arrow"),
            {},
            [r'COPY .*"added__items"', r'COPY .*"merged__items"', r'COPY .*"arrow"'],
        ),
        (("added",), {"loader_file_format": "insert_values"}, [r'insert .*"added__items"']),
        # What is around the jobs: the ledger, the merge, and the mark of the package.
        (
            ("merged",),
            {},
            [
                r"INSERT .*_dlt_loadsmith_states",
                r"TEMPORARY TABLE merged_",
                r"DELETE .*_dlt_loadsmith_jobs",
                r"DELETE .*_dlt_loadsmith_states",
            ],
        ),
    ],
    ids=["copied", "inserted", "merged"],
)
def test_an_answer_of_postgres_that_is_lost_costs_no_row_twice(make_proxied, kinds, params, lost):
    proxied = make_proxied("postgres")
    left = proxied.proxy.lose_first(*lost)
    assert proxied.run(*kinds, **params).success
    assert left == []
    assert proxied.counts(*kinds) == once(*kinds)


@pytest.mark.postgres
def test_a_network_that_breaks_everywhere_at_once_costs_no_row(make_proxied):
    proxied = make_proxied("postgres", replace_strategy="staging-optimized")
    proxied.proxy.everywhere = True
    # dlt moves the staging table to its place, and would move the empty one after it.
    moved = r"DROP TABLE IF EXISTS \S+replaced"
    left = proxied.proxy.lose_first(r'COPY .*"added"', moved, r"DELETE .*_dlt_loadsmith_jobs")
    assert proxied.run("added", "replaced").success
    assert left == []
    assert proxied.counts("added", "replaced") == once("added", "replaced")


@pytest.mark.parametrize(
    ("kinds", "lost"),
    [
        # No column is unique here: what is loaded twice is there twice.
        (("added", "arrow"), [r"INSERT INTO \w+\.added ", r"INSERT INTO \w+\.arrow "]),
        (
            ("added", "merged"),
            [r"INSERT INTO \w+\.added__items", r"_staging_\w+\.merged__items \("],
        ),
        (
            ("replaced", "keyless"),
            [r"INSERT INTO \w+\.replaced__items", r"DELETE .*_dlt_loadsmith_jobs"],
        ),
        (("keyless",), [r"INSERT INTO \w+\.keyless(__items)? .*SELECT"]),
    ],
    ids=["added", "merged", "replaced", "keyless"],
)
def test_an_answer_of_mariadb_that_is_lost_costs_no_row_twice(make_proxied, kinds, lost):
    proxied = make_proxied("mariadb")
    left = proxied.proxy.lose_first(*lost)
    assert proxied.run(*kinds).success
    assert left == []
    assert proxied.counts(*kinds) == once(*kinds)


def test_what_cannot_be_removed_is_not_loaded_again_for_the_sake_of_others(
    make_proxied, monkeypatch
):
    monkeypatch.setenv("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID", "false")
    proxied = make_proxied("mariadb")
    left = proxied.proxy.lose_first(r"INSERT INTO \w+\.added ")
    assert proxied.run("added", "arrow").success
    assert left == []
    assert proxied.counts("arrow") == once("arrow")


def test_a_package_whose_mark_was_not_answered_is_marked_once(make_proxied):
    proxied = make_proxied("mariadb")
    left = proxied.proxy.lose_first(r"DELETE FROM \S*_dlt_loadsmith_jobs")
    assert proxied.run("added").success
    assert left == []
    assert proxied.counts("added") == once("added")
    assert proxied.shop.read("_dlt_loads", "count(*)") == [(1,)]


def test_a_run_that_gets_no_answer_to_its_rows_at_all_loads_each_row_once(make_proxied):
    proxied = make_proxied("mariadb")
    proxied.proxy.lose = lambda _number, words: (
        re.match(r"INSERT INTO \w+\.added", words) is not None
    )
    assert proxied.run("added").success
    assert proxied.counts("added") == once("added")


@pytest.mark.parametrize(
    "destination", ["mariadb", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def test_a_load_that_gets_its_answers_asks_nothing_more(make_proxied, destination):
    proxied = make_proxied(destination)
    assert proxied.run("added", "merged", "replaced").success
    assert [one for one in proxied.proxy.statements if "COUNT(" in one.upper()] == []
