"""Slices: what keeps two runs apart, and that data under released names is found."""

import hashlib
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from hypothesis import assume, given, strategies as st

from loadsmith.engine.once.entry import LEDGER_TABLE, LedgerEntry, LedgerTable
from loadsmith.engine.run import run_load
from loadsmith.engine.workspace.names import Names, digest, names_of
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    LoadResult,
    PipelineSettings,
    ResourceSelection,
    RunRequest,
    Slice,
    Window,
)

HOME = Path("/home")
START = datetime(2024, 1, 1, tzinfo=timezone.utc)

# The same 40 letters and the same 32 bits of a hash, of which the names of 0.1 were made.
SAME_IN_0_1 = (
    "the customers of the european union in 213573",
    "the customers of the european union in 236025",
)


def days(first: int, last: int) -> Window:
    return Window(start=START + timedelta(days=first), end=START + timedelta(days=last))


KEYS = st.one_of(
    st.sampled_from(["a", "a_b", "a-b", "a/b", "a%2Fb", "b", "eu", "2024-01-01", "/", "%", "é"]),
    st.sampled_from(SAME_IN_0_1),
    st.text(min_size=1, max_size=60),
)
SLICES = st.builds(
    Slice,
    load=st.sampled_from(["a", "b", "shop", "shop__orders"]),
    # A pipeline is used by one load, or it is not: its name says so here.
    pipeline_name=st.sampled_from(["own_a", "own_b", "shared_a", "shared_b"]),
    partition_keys=st.lists(KEYS, max_size=3, unique=True).map(tuple),
    window=st.sampled_from([None, days(0, 1), days(0, 2), days(1, 2)]),
    window_is_chosen=st.booleans(),
).map(lambda s: Slice(**{**vars(s), "owns_pipeline_name": s.pipeline_name.startswith("own")}))


@given(SLICES, SLICES)
def test_two_identities_never_share_a_name(one: Slice, other: Slice):
    assume(one.identity != other.identity)
    if one.owns_pipeline_name and one.pipeline_name == other.pipeline_name:
        assume(one.load == other.load)
    ours, theirs = names_of(one, HOME), names_of(other, HOME)
    assert ours.working_dir != theirs.working_dir
    assert ours.scope != theirs.scope
    assert ours.lock_path != theirs.lock_path
    assert digest(ours.scope) != digest(theirs.scope)
    if ours.state == theirs.state:
        assert ours.shares_state or theirs.shares_state


@pytest.mark.parametrize("key", ["eu", "a_b", "2024", "x" * 40])
def test_a_plain_key_keeps_its_released_names(key: str):
    name = f"{key}_{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    names = names_of(Slice(load="load", pipeline_name="shop", partition_keys=(key,)), HOME)
    assert names == Names(
        state=f"shop__{name}",
        scope=f"shop/{key}",
        pipelines_dir=HOME / ".loadsmith" / "load" / name,
        lock_path=names.lock_path,
        shares_state=False,
    )


def test_a_load_without_partitions_works_where_dlt_would():
    names = names_of(Slice(load="load", pipeline_name="shop"), HOME)
    assert (names.working_dir, names.scope) == (HOME / "shop", "shop")
    part = names_of(Slice(load="part", pipeline_name="shop", owns_pipeline_name=False), HOME)
    assert (part.working_dir, part.scope) == (HOME / ".loadsmith/part/shop", "shop/part")


class Shop:
    """A load into a DuckDB file, whose source has rows 1 to `rows`."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "shop.duckdb"
        self.home = folder / "pipelines"
        self.rows = 2
        self.days = 10

    def source(self) -> Any:
        @dlt.source(name="shop")
        def shop() -> Any:
            @dlt.resource
            def orders(at: Any = dlt.sources.incremental("id", initial_value=0)) -> Any:
                yield [{"id": n, "key": "x"} for n in range(1, self.rows + 1)]

            @dlt.resource
            def events(
                at: Any = dlt.sources.incremental("at", initial_value=START),
            ) -> Any:
                yield [{"id": n, "at": START + timedelta(days=n)} for n in range(self.days)]

            return orders, events

        return shop()

    def definition(self, resource: str = "orders", **settings: Any) -> LoadDefinition:
        return LoadDefinition(
            **{
                "name": "load",
                "source": self.source,
                "pipeline": PipelineSettings(
                    pipeline_name="shop", dataset_name="raw", pipelines_dir=str(self.home)
                ),
                "destination": DestinationReference(
                    name="duckdb", params={"database": str(self.database)}
                ),
                "resources": ResourceSelection(include=(resource,)),
                **settings,
            }
        )

    def load(self, resource: str = "orders", **request: Any) -> LoadResult:
        with run_load(self.definition(resource), RunRequest(**request)) as result:
            return result

    def released(self, slug: str) -> Any:
        """The pipeline as 0.1 makes it for a partition."""
        return dlt.pipeline(
            f"shop__{slug}",
            destination=dlt.destinations.duckdb(str(self.database)),
            dataset_name="raw",
            pipelines_dir=str(self.home / ".loadsmith" / "load" / slug),
        )

    def query(self, sql: str, *args: Any) -> list[Any]:
        with duckdb.connect(str(self.database)) as connection:
            return connection.execute(sql, args).fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def released_slug(key: str) -> str:
    names = names_of(Slice(load="load", pipeline_name="shop", partition_keys=(key,)), HOME)
    assert names.released is not None
    return names.released.pipelines_dir.name


def test_keys_that_shared_names_have_cursors_of_their_own(shop: Shop):
    slugs = {released_slug(key) for key in SAME_IN_0_1}
    assert slugs == {"the_customers_of_the_european_union_in_2_e6fc0e74"}
    for key in SAME_IN_0_1:
        assert shop.load(partition_key=key).rows_loaded == 2
    shop.rows = 3
    for key in SAME_IN_0_1:
        assert shop.load(partition_key=key).rows_loaded == 1


@pytest.mark.parametrize("key", ["New York", SAME_IN_0_1[0], "a/b"])
def test_a_cursor_under_a_released_name_goes_on(shop: Shop, key: str):
    pipeline = shop.released(released_slug(key))
    pipeline.run(shop.source().with_resources("orders"))
    pipeline.drop()
    shop.rows = 3
    assert shop.load(partition_key=key).rows_loaded == 1
    shop.rows = 5
    assert shop.load(partition_key=key).rows_loaded == 2
    assert shop.query("SELECT id FROM raw.orders ORDER BY id") == [(n,) for n in range(1, 6)]


@pytest.mark.parametrize("step", ["extract", "normalize"])
def test_a_package_under_a_released_name_is_completed(shop: Shop, step: str):
    slug = released_slug("New York")
    pipeline = shop.released(slug)
    pipeline.extract(shop.source().with_resources("orders"))
    if step == "normalize":
        pipeline.normalize()
    pipeline.deactivate()
    shop.rows = 3
    assert shop.load(partition_key="New York").rows_loaded == 3
    assert not (shop.home / ".loadsmith" / "load" / slug).exists()
    shop.rows = 4
    assert shop.load(partition_key="New York").rows_loaded == 1
    assert shop.query("SELECT id FROM raw.orders ORDER BY id") == [(n,) for n in range(1, 5)]


@pytest.mark.parametrize(
    ("scope", "request_"),
    [
        ("shop/a/b", {"partition_key": "a/b"}),
        ("shop", {"partition_keys": ("2024-01-01", "2024-01-02"), "window": days(0, 2)}),
        ("shop", {"window": days(0, 2)}),
    ],
)
def test_rows_of_a_dead_run_under_a_released_scope_are_removed(
    shop: Shop, scope: str, request_: dict[str, Any]
):
    shop.load("events", partition_key="other", window=days(5, 6))
    shop.query(
        "INSERT INTO raw.events (id, \"at\", _dlt_load_id, _dlt_id) VALUES (0, ?, 'dead', 'x')",
        START,
    )
    dead = LedgerEntry(
        load_id="dead",
        scope=scope,
        run_id="gone",
        resources=("events",),
        tables=(LedgerTable(name="events", parent=None, appended=True),),
        process="elsewhere:1",
        root_run_id="gone",
    )
    shop.query(
        f"INSERT INTO raw.{LEDGER_TABLE} (load_id, scope, payload) VALUES (?, ?, ?)",
        dead.load_id,
        dead.scope,
        dead.to_text(),
    )
    shop.load("events", outcome_of=lambda _run: "failed", **request_)
    assert shop.query("SELECT count(*) FROM raw.events WHERE _dlt_load_id = 'dead'") == [(0,)]
    assert shop.query(f"SELECT count(*) FROM raw.{LEDGER_TABLE} WHERE load_id = 'dead'") == [(0,)]


def test_the_package_of_a_window_is_not_taken_for_that_of_another(shop: Shop):
    def is_extracted() -> bool:
        return bool(list(shop.home.glob("**/normalize/extracted/*/*")))

    with pytest.raises(InterruptedError):
        shop.load("events", window=days(0, 3), cancelled=is_extracted)
    assert is_extracted()
    assert shop.load("events", window=days(3, 5)).rows_loaded == 2
    # A retry completes what its predecessor has extracted.
    assert shop.load("events", window=days(0, 3)).rows_loaded == 3
    assert not is_extracted()
    assert shop.query("SELECT id FROM raw.events ORDER BY id") == [(n,) for n in range(5)]


def test_parts_of_a_partition_that_run_side_by_side_keep_their_cursors(shop: Shop):
    part = {"owns_pipeline_name": False}
    request = RunRequest(partition_key="eu")

    def load(name: str) -> int:
        with run_load(shop.definition(name, name=name, **part), request) as result:
            return result.rows_loaded or 0

    begun, loaded = threading.Event(), threading.Event()

    def source() -> Any:
        # The other part stores its state between this one's read of the state and its end.
        begun.set()
        assert loaded.wait(60)
        return shop.source()

    found = []

    def load_slowly() -> None:
        definition = shop.definition("orders", name="orders", source=source, **part)
        with run_load(definition, request) as result:
            found.append(result.rows_loaded)

    assert (load("orders"), load("events")) == (2, 10)
    shop.rows = 3
    thread = threading.Thread(target=load_slowly)
    thread.start()
    assert begun.wait(60)
    shop.days = 12
    assert load("events") == 2
    loaded.set()
    thread.join(60)
    assert found == [1]
    assert (load("orders"), load("events")) == (0, 0)
