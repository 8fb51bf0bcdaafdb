"""A load with partitions, run by the engine alone, and what its tables hold afterwards."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt

from loadsmith.engine.run import run_load
from loadsmith.model import (
    LoadDefinition,
    LoadResult,
    RunOptions,
    RunRequest,
    Window,
)

MARIADB = "mysql+pymysql://root@127.0.0.1:3306"
POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"


def day(number: int) -> datetime:
    return datetime(2024, 1, number, tzinfo=timezone.utc)


def window(first: int, last: int) -> Window:
    """Return the window of days of January, the last one included."""
    return Window(start=day(first), end=day(last) + timedelta(days=1))


FIRST = day(1)


def _like(sample: Any, moment: datetime) -> Any:
    """Return a moment as the type of a sample."""
    if isinstance(sample, str):
        return moment.isoformat()
    return moment.replace(tzinfo=sample.tzinfo)


@dataclass
class Warehouse:
    """A source whose rows a test changes, and the destination that it is loaded into.

    Attributes:
        rows: Rows of the source by day; each has nested rows.
        said: What the runs have logged.
        warned: What they have warned of.
        cursor: `time`, `naive`, or `text` for a cursor that SQL cannot compare.
        fails: Whether another resource of the source fails.
        attributes: Settings of resources, by name.
        name: The name of the load.
        pipeline_name: The name of its pipeline; that of the load if None.
        twin: Whether a second resource yields the same rows into the same table.
        own_tables: Whether it has a table of its own, unless the run names one.
    """

    folder: Path
    destination: Callable[[], Any]
    dataset: str
    options: RunOptions = field(default_factory=RunOptions)
    disposition: Any = "append"
    rows: dict[int, list[int]] = field(default_factory=lambda: {n: [1, 2] for n in range(1, 8)})
    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    hints: dict[str, Any] = field(default_factory=dict)
    cursor: str = "time"
    fails: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = "days"
    pipeline_name: str | None = None
    twin: bool = False
    own_tables: bool = False

    def source(self) -> Any:
        rows, hints, fails = self.rows, self.hints, self.fails
        first: Any = {
            "time": FIRST,
            "naive": FIRST.replace(tzinfo=None),
            "text": FIRST.isoformat(),
        }[self.cursor]

        @dlt.source(name="shop")
        def shop() -> Any:
            @dlt.resource(write_disposition=self.disposition, **hints)
            def events(
                at: Any = dlt.sources.incremental("at", initial_value=first),
            ) -> Iterator[Any]:
                for number, ids in rows.items():
                    for one in ids:
                        yield {
                            "id": f"{number}-{one}",
                            "at": _like(first, day(number) + timedelta(hours=one)),
                            "items": [{"n": 1, "tags": ["a", "b"]}, {"n": 2, "tags": []}],
                        }

            @dlt.resource(write_disposition="replace")
            def lookup() -> Iterator[Any]:
                if fails:
                    raise RuntimeError("down")
                yield {"name": "only"}

            log = dlt.resource([{"n": 1}], name="log", write_disposition="append")
            if not self.twin:
                return events, lookup, log.with_name("log")
            twins = events.with_name("twins")
            twins.apply_hints(table_name="twins" if self.own_tables else "events")
            return events, lookup, twins

        return shop()

    @property
    def definition(self) -> LoadDefinition:
        return LoadDefinition(
            name=self.name,
            source=self.source,
            pipeline=lambda: dlt.pipeline(
                self.pipeline_name or self.name,
                destination=self.destination(),
                dataset_name=self.dataset,
                pipelines_dir=str(self.folder / "pipelines"),
            ),
            options=self.options,
            resource_attributes=self.attributes,
        )

    def load(self, first: int, last: int | None = None, **request: Any) -> LoadResult:
        """Load days as one run of Dagster would."""
        last = first if last is None else last
        keys = tuple(f"2024-01-{number:02}" for number in range(first, last + 1))
        return self.run(
            partition_key=keys[0] if len(keys) == 1 else None,
            partition_keys=keys,
            **{"window": window(first, last), **request},
        )

    def run(self, **request: Any) -> LoadResult:
        asked = RunRequest(
            run_id=uuid.uuid4().hex,
            outcome_of=lambda _run: "succeeded",
            log=self.said.append,
            warn=self.warned.append,
            **request,
        )
        with run_load(self.definition, asked) as result:
            return result

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        pipeline = dlt.pipeline(
            "asks",
            destination=self.destination(),
            dataset_name=self.dataset,
            pipelines_dir=str(self.folder / "asks"),
        )
        with pipeline.sql_client() as client:
            return list(client.execute_sql(query) or ())

    def held(self) -> Counter[str]:
        """Return how often each row is there; its nested rows have to be there as often."""
        ids = Counter(row[0] for row in self.ask("SELECT id FROM events"))
        nested = Counter(
            row[0]
            for row in self.ask(
                "SELECT e.id FROM events e JOIN events__items i ON i._dlt_parent_id = e._dlt_id"
                " JOIN events__items__tags t ON t._dlt_parent_id = i._dlt_id"
            )
        )
        assert nested == Counter({name: 2 * count for name, count in ids.items()})
        for table, rows in (("events__items", 2), ("events__items__tags", 2)):
            assert self.ask(f"SELECT count(*) FROM {table}")[0][0] == rows * ids.total()
        return ids

    def expected(self, *days: int) -> Counter[str]:
        return Counter(f"{number}-{one}" for number in days for one in self.rows[number])

    def changed(self, **changes: Any) -> "Warehouse":
        return replace(self, **changes)
