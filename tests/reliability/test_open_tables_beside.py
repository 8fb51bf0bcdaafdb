"""A dead load is undone in Delta and Iceberg tables beside loads that write to the same ones."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pytest
from entries import (
    ALIVE,
    DEAD,
    EVERYTHING,
    Peer,
    claim_of,
    entry_of,
    that_writes_no_more,
    workspace_of,
    write_down,
)
from killing import in_child
from watching import wait_until

from loadsmith.engine.once import open_tables as _open_tables
from loadsmith.engine.once.entry import LedgerEntry
from loadsmith.engine.once.iceberg_lock import alone_with_iceberg
from loadsmith.engine.once.ledger_files import FileLedger
from loadsmith.engine.run import run_load
from loadsmith.errors import RunError
from loadsmith.model import LoadDefinition, RunRequest, Wait

pytest.importorskip("deltalake")
pytest.importorskip("pyiceberg")


#: How long a test waits for what has to happen.
PATIENCE = 60


class Lake:
    """A dataset of tables with a log, written and read by their own libraries."""

    def __init__(self, folder: Path, table_format: str) -> None:
        self.folder = folder
        self.format = table_format
        self.lines: list[str] = []
        self.waits: list[Wait] = []
        self._pipeline = self.make_pipeline("first")

    def make_pipeline(self, name: str) -> Any:
        return dlt.pipeline(
            name,
            destination=dlt.destinations.filesystem((self.folder / "lake").as_uri()),
            dataset_name="shop",
            pipelines_dir=str(self.folder / f"pipelines_{name}"),
        )

    def fill(self) -> None:
        """Make the tables, with the rows of a good load in them."""
        self._pipeline.run(
            rows_of("first"),
            table_name="events",
            table_format=self.format,
            write_disposition="append",
        )

    def uri(self, table: str) -> str:
        return (self.folder / "lake" / "shop" / table).as_uri()

    def open(self, table: str) -> Any:
        if self.format == "delta":
            from deltalake import DeltaTable

            return DeltaTable(self.uri(table))
        from pyiceberg.catalog.sql import SqlCatalog

        catalog = SqlCatalog("default", uri=os.environ.get("CATALOG", "sqlite:///:memory:"))
        if "CATALOG" in os.environ:
            return catalog.load_table(f"shop.{table}")
        catalog.create_namespace("shop")
        metadata = (self.folder / "lake" / "shop" / table / "metadata").glob("*.metadata.json")
        return catalog.register_table(f"shop.{table}", max(metadata).as_uri())

    def read(self, table: str) -> pa.Table:
        if self.format == "delta":
            from deltalake import QueryBuilder

            engine = QueryBuilder().register("rows", self.open(table))
            return pa.table(engine.execute("SELECT * FROM rows"))
        return self.open(table).scan().to_arrow()

    def append(self, table: str, **values: Any) -> None:
        found = self.open(table)
        if self.format == "delta":
            from deltalake import write_deltalake

            schema = pa.schema(self.read(table).schema)
            write_deltalake(found, pa.Table.from_pylist([values], schema=schema), mode="append")
        else:
            schema = found.schema().as_arrow()
            found.append(pa.Table.from_pylist([values], schema=schema))

    def write(self, load_id: str, *tables: str) -> None:
        """Write one row of a load into each of the tables, the one hanging from the other."""
        for table in tables:
            level = EVERYTHING.index(table)
            own: dict[str, Any] = {"_dlt_id": f"{load_id}_{level}"}
            if level:
                own |= {"_dlt_parent_id": f"{load_id}_{level - 1}", "_dlt_list_idx": 0}
            else:
                own |= {"_dlt_load_id": load_id, "id": load_id}
            self.append(table, **own)

    def loads(self) -> dict[str, list[str]]:
        """Return the loads that have rows, by table, without the one that made the tables."""
        return {
            table: sorted(
                key.rsplit("_", 1)[0]
                for key in self.read(table)["_dlt_id"].to_pylist()
                if "_" in key
            )
            for table in EVERYTHING
        }

    def ledger(self, entry: LedgerEntry, **request: Any) -> FileLedger:
        deadline = time.monotonic() + PATIENCE

        def late() -> bool:
            return time.monotonic() > deadline

        asked = RunRequest(**{"log": self.lines.append, "cancelled": late, **request})
        workspace = workspace_of(self._pipeline, entry.scope, asked)
        workspace.waits = self.waits
        return FileLedger(self._pipeline.destination_client(), workspace)

    def undo(
        self, entry: LedgerEntry, *others: Peer, wait: bool = True, **request: Any
    ) -> int | None:
        ledger = self.ledger(entry, **{"outcome_of": lambda run: run, **request})
        write_down(ledger, Peer(entry), *others)
        return ledger.undo(entry, wait=wait)


def rows_of(name: str) -> list[dict[str, Any]]:
    return [
        {"id": f"{name}-{n}", "items": [{"n": k, "parts": [{"k": k}]} for k in range(2)]}
        for n in range(2)
    ]


@pytest.fixture(params=["delta", "iceberg"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    made = Lake(tmp_path, request.param)
    made.fill()
    return made


def test_rows_that_hang_from_a_dead_loads_roots_go_with_them_while_another_load_writes(lake):
    lake.write("dead", *EVERYTHING)
    lake.write("alive", "events__items", "events__items__parts")
    assert lake.undo(DEAD, ALIVE, wait=False) is None
    assert lake.loads() == {
        "events": [],
        "events__items": ["alive"],
        "events__items__parts": ["alive"],
    }
    assert lake.lines == []
    # The rows of the load before are there.
    assert [lake.read(table).num_rows for table in EVERYTHING] == [2, 5, 5]


def test_rows_without_a_root_wait_for_the_load_that_writes(lake):
    lake.write("dead", "events__items", "events__items__parts")
    lake.write("alive", "events__items", "events__items__parts")

    def end_when_waited_for(line: str) -> None:
        lake.lines.append(line)
        if line.startswith("waiting"):
            lake.write("alive", "events")
            lake.ledger(DEAD).remove_claim(ALIVE.claim)

    assert lake.undo(DEAD, ALIVE, log=end_when_waited_for) == 2
    assert lake.loads() == {table: ["alive"] for table in EVERYTHING}
    assert [line.split(" ")[0] for line in lake.lines] == ["waiting", "got"]
    assert all("unknown of alive" in line for line in lake.lines)
    assert [wait.holder for wait in lake.waits] == ["run unknown of alive"]


def test_rows_of_a_load_that_died_before_its_root_table_was_made_are_removed(tmp_path):
    lake = Lake(tmp_path, "delta")
    lake.fill()
    lake.write("dead", "events__items", "events__items__parts")
    (tmp_path / "lake" / "shop" / "events").rename(tmp_path / "gone")
    # Nothing hangs from anything then.
    assert lake.undo(DEAD) == 2 * (4 + 1)


@that_writes_no_more
def test_a_load_that_does_not_write_is_not_waited_for(lake, other):
    lake.write("dead", "events__items", "events__items__parts")
    assert lake.undo(DEAD, other, wait=False) == 2
    assert lake.loads() == {table: [] for table in EVERYTHING}
    assert lake.lines == []


def test_a_load_that_begins_meanwhile_keeps_its_rows_and_is_not_waited_for(lake):
    # It comes when the rows of the dead load were taken down and before they are removed.
    lake.write("dead", "events__items")
    new = entry_of("new")
    begun: list[str] = []

    def write_first(run_id: str) -> str:
        if not begun:
            begun.append(run_id)
            write_down(lake.ledger(new), Peer(new, claim_of(new)))
            lake.write("new", "events__items", "events__items__parts")
        return "failed" if lake.lines else "running"

    other = entry_of("other", run_id="other")
    assert lake.undo(DEAD, Peer(other, claim_of(other)), outcome_of=write_first) == 1
    assert lake.loads()["events__items"] == ["new"]
    assert not any("of new" in line for line in lake.lines)


def test_two_undos_do_not_wait_for_each_others_dead_load(lake):
    one, two = (entry_of(name) for name in ("one", "two"))
    for entry in (one, two):
        lake.write(entry.scope, "events__items", "events__items__parts")
        write_down(lake.ledger(entry), Peer(entry))
    threads = [
        threading.Thread(target=Lake(lake.folder, lake.format).undo, args=(entry,), daemon=True)
        for entry in (one, two)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert lake.loads() == {table: [] for table in EVERYTHING}


def test_plain_files_of_a_dead_load_are_removed_without_a_wait(tmp_path):
    lake = Lake(tmp_path, "native")
    lake.fill()
    name = "dead.events__items.parquet"
    (tmp_path / "lake" / "shop" / "events__items" / name).touch()
    assert lake.undo(DEAD, ALIVE, wait=False) == 1
    assert lake.lines == []


def test_an_undo_that_is_not_to_wait_leaves_iceberg_tables_to_the_load_that_writes(tmp_path):
    lake = Lake(tmp_path, "iceberg")
    lake.fill()
    lake.write("dead", *EVERYTHING)
    alive = lake.ledger(ALIVE.entry)
    with alone_with_iceberg(alive.client, alive._workspace, wait=True) as is_alone:
        assert is_alone
        assert lake.undo(DEAD, wait=False) is None
    assert lake.loads() == {table: ["dead"] for table in EVERYTHING}
    assert lake.undo(DEAD, wait=False) == 3
    assert lake.lines == []


def test_an_entry_that_is_written_again_is_there_as_a_whole_all_the_time(tmp_path):
    lake = Lake(tmp_path, "delta")
    lake.fill()
    ledger = lake.ledger(DEAD)
    ledger.prepare()
    ledger.write([DEAD])
    (path,) = (tmp_path / "lake" / "shop").glob("_dlt_loadsmith_loads/*")
    with path.open() as before:
        ledger.change(replace(DEAD, reported=True))
        # What was begun to be read is not cut off.
        assert '\\"reported\\": false' in before.read()
    assert [entry.reported for entry in ledger.entries("dead")] == [True]
    assert list(path.parent.iterdir()) == [path]


def commits_of_others(lake: Lake, kind: type, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let others commit between the look at a table and the commit to it."""
    opened = kind._open
    left = [times]

    def then_commit(table: Any) -> Any:
        found = opened(table)
        if left[0]:
            left[0] -= 1
            # In the way of a delete is what it could be about.
            lake.append("events", _dlt_load_id="dead", _dlt_id=uuid.uuid4().hex, id="other")
        return found

    monkeypatch.setattr(kind, "_open", then_commit)


@pytest.fixture(params=["delta", "iceberg"])
def shared_lake(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Lake, type]:
    """Make a lake whose commits see one another, with a catalog that all share."""
    if request.param == "iceberg":
        uri = f"sqlite:///{tmp_path / 'catalog.db'}"
        monkeypatch.setenv("CATALOG", uri)
        prefix = "ICEBERG_CATALOG__ICEBERG_CATALOG_CONFIG"
        monkeypatch.setenv(prefix, f'{{"type": "sql", "uri": "{uri}", "warehouse": "{tmp_path}"}}')
    made = Lake(tmp_path, request.param)
    made.fill()
    kinds = {"delta": _open_tables._DeltaTable, "iceberg": _open_tables._IcebergTable}
    return made, kinds[request.param]


def test_a_commit_of_others_in_between_is_committed_after(shared_lake, monkeypatch):
    lake, kind = shared_lake
    lake.write("dead", "events")
    table = _open_tables.find_open_table(lake._pipeline.destination_client(), "events")
    commits_of_others(lake, kind, monkeypatch, times=1)
    table.delete("_dlt_load_id", pa.array(["dead"]))
    assert lake.loads()["events"] == []
    assert lake.read("events").num_rows == 2


def test_commits_of_others_without_end_are_told(shared_lake, monkeypatch):
    lake, kind = shared_lake
    lake.write("dead", "events")
    table = _open_tables.find_open_table(lake._pipeline.destination_client(), "events")
    monkeypatch.setattr(_open_tables, "_TRIES", 2)
    commits_of_others(lake, kind, monkeypatch, times=1000)
    with pytest.raises(RunError) as raised:
        table.delete("_dlt_load_id", pa.array(["dead"]))
    assert str(raised.value) == (
        "table 'events': rows of a dead load could not be removed, for other loads committed to the"
        " table 2 times meanwhile. Run the load again when fewer of them write."
    )


# -- whole loads ----------------------------------------------------------------------------


def load(
    folder: Path,
    table_format: str,
    name: str,
    at_root: Callable[[Any], None] | None = None,
    **request: Any,
) -> None:
    """Load the rows of a name; `at_root` is done before the root rows, after the nested ones."""
    from dlt.destinations.impl.filesystem import filesystem

    done = threading.Event()
    nested = set(EVERYTHING[1:])
    lake = Lake(folder, table_format)
    kind = {
        "delta": filesystem.DeltaLoadFilesystemJob,
        "iceberg": filesystem.IcebergLoadFilesystemJob,
    }[table_format]
    own = kind.run

    def run(job: Any) -> None:
        if job.load_table_name == "events":
            assert done.wait(PATIENCE)
            at_root(folder)
        own(job)
        nested.discard(job.load_table_name)
        if not nested:
            done.set()

    if at_root is not None:
        kind.run = run

    def source() -> Any:
        made = dlt.resource(rows_of(name), name="events", table_format=table_format)
        return dlt.source(lambda: made, name="shop", section="shop")()

    definition = LoadDefinition(name=name, source=source, pipeline=lambda: lake.make_pipeline(name))
    with run_load(definition, RunRequest(run_id=f"run of {name}", **request)):
        pass


def die(_folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def pause(folder: Path) -> None:
    (folder / "paused").touch()
    wait_until((folder / "go").exists)


@pytest.mark.parametrize("table_format", ["delta", "iceberg"])
def test_a_killed_append_is_loaded_again_while_another_load_is_in_the_middle(
    table_format, tmp_path
):
    Lake(tmp_path, table_format).fill()
    killed = in_child(load, tmp_path, table_format, "killed", die, output=tmp_path / "killed")
    killed.join(PATIENCE)
    assert killed.exitcode == -signal.SIGKILL, (tmp_path / "killed").read_text()
    other = in_child(load, tmp_path, table_format, "other", pause, output=tmp_path / "other")
    wait_until((tmp_path / "paused").exists)
    lines: list[str] = []

    def let_go(line: str) -> None:
        lines.append(line)
        if line.startswith("waiting for the table events__items, "):
            (tmp_path / "go").touch()

    load(tmp_path, table_format, "killed", log=let_go, warn=lines.append)
    other.join(PATIENCE)
    assert other.exitcode == 0, (tmp_path / "other").read_text()
    assert any("8 rows of it were removed" in line for line in lines), lines
    found = {table: Lake(tmp_path, table_format).read(table) for table in EVERYTHING}
    assert sorted(found["events"]["id"].to_pylist()) == sorted(
        f"{name}-{n}" for name in ("first", "killed", "other") for n in range(2)
    )
    for table, parent in (("events__items", "events"), ("events__items__parts", "events__items")):
        assert found[table].num_rows == 3 * 4
        assert set(found[table]["_dlt_parent_id"].to_pylist()) <= set(
            found[parent]["_dlt_id"].to_pylist()
        )


def test_loads_into_iceberg_tables_without_a_catalog_take_turns(tmp_path, monkeypatch):
    # The second begins when the first has looked at its table and before it commits to it.
    Lake(tmp_path, "iceberg").fill()
    from dlt.common.libs import pyiceberg

    own = pyiceberg.write_iceberg_table
    second = threading.Thread(
        target=load, args=(tmp_path, "iceberg", "second"), kwargs={"log": lambda line: log(line)}
    )
    waits = threading.Event()

    def log(line: str) -> None:
        if line.startswith("waiting for the Iceberg tables of shop"):
            waits.set()

    first = threading.Lock()

    def write(**arguments: Any) -> None:
        # dlt writes its tables in threads of their own.
        if first.acquire(blocking=False):
            second.start()
            wait_until(lambda: waits.is_set() or not second.is_alive())
        own(**arguments)

    monkeypatch.setattr(pyiceberg, "write_iceberg_table", write)
    load(tmp_path, "iceberg", "one")
    second.join(PATIENCE)
    assert waits.is_set()
    assert sorted(Lake(tmp_path, "iceberg").read("events")["id"].to_pylist()) == sorted(
        f"{name}-{n}" for name in ("first", "one", "second") for n in range(2)
    )
