"""`build_definitions_tests`: a class of pytest tests for Dagster definitions with loads."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from loadsmith.errors import LoadsmithError
from loadsmith.testing.project import check_keys
from loadsmith.testing.watching import check_definitions, load_definitions

_RESOURCE = "loadsmith/resource"


def build_definitions_tests(
    definitions: "str | dg.Definitions | Callable[[], dg.Definitions]",
    *,
    runs_loads: bool = False,
    limit: int = 10,
    partition: str | None = None,
) -> type[Any]:
    """Make a class of tests for definitions with `dlt_assets`, the factory or the component.

        TestDefinitions = build_definitions_tests("my_project.definitions:defs")

    Args:
        definitions: `my_module:defs`, the definitions, or a function that gives them. A name is
            best: it allows a test in a separate process that definitions use no network, secret or
            disk.
        runs_loads: Whether every load is run twice into its destination, and its reported rows are
            compared with the destination. The first run replaces the rows of the tables, so use
            a destination for tests.
        limit: Pages of each resource in those runs.
        partition: The partition of those runs, if the assets have partitions.
    """
    members: dict[str, Any] = {
        "definitions": staticmethod(_maker_of(definitions)),
        "limit": limit,
        "partition": partition,
    }
    if isinstance(definitions, str):
        target = definitions

        def test_definitions_need_neither_network_nor_secret_nor_disk(
            self: DefinitionsTests,
        ) -> None:
            check_definitions(target)

        name = "test_definitions_need_neither_network_nor_secret_nor_disk"
        members[name] = test_definitions_need_neither_network_nor_secret_nor_disk
    if runs_loads:

        def test_every_load_runs_twice_and_reports_its_rows(self: DefinitionsTests) -> None:
            self.check_loads()

        members["test_every_load_runs_twice_and_reports_its_rows"] = (
            test_every_load_runs_twice_and_reports_its_rows
        )
    return type("DefinitionsTests", (DefinitionsTests,), members)


@dataclass(frozen=True)
class Rows:
    """Rows of an asset after a run.

    Attributes:
        loaded: Rows that the run reported; None if unknown.
        total: Rows in the destination; None if it cannot count.
    """

    loaded: int | None
    total: int | None


class DefinitionsTests:
    """Tests of definitions with loads; `build_definitions_tests` makes a subclass."""

    definitions: Callable[[], dg.Definitions]
    limit: int = 10
    partition: str | None = None

    def test_dagster_takes_all_definitions(self) -> None:
        """Jobs, schedules, checks and assets fit together, and no two have one name."""
        try:
            dg.Definitions.validate_loadable(self.definitions())
        except LoadsmithError as error:
            raise AssertionError(str(error)) from None

    def test_every_asset_has_a_key_of_its_own(self) -> None:
        """No two assets have the same key, not even where case is ignored."""
        graph = self.definitions().resolve_asset_graph()
        check_keys(key.to_user_string() for key in graph.get_all_asset_keys())

    def test_there_is_a_load(self) -> None:
        """At least one asset comes from a load of loadsmith's."""
        assert self.loaded_keys(), "no asset of these definitions comes from a load"

    def test_metadata_is_plain_data(self) -> None:
        """No live source, pipeline or secret hides in the metadata of a load's assets."""
        for spec in self.definitions().resolve_all_asset_specs():
            if _RESOURCE in spec.metadata:
                own = {
                    name: value
                    for name, value in spec.metadata.items()
                    if not name.startswith("dagster/")
                    and not isinstance(value, dg.MetadataValue | dg.TableSchema)
                }
                json.dumps(own)

    def loaded_keys(self) -> list[dg.AssetKey]:
        """Return the keys of the assets that loads make."""
        return [
            spec.key
            for spec in self.definitions().resolve_all_asset_specs()
            if _RESOURCE in spec.metadata
        ]

    def check_loads(self) -> None:
        """Run a little of every load twice, and compare its reported rows with the destination.

        The first run replaces the rows of the tables, so it must report as many rows as the
        destination holds afterwards. The second run uses the write disposition of the load. A
        destination that cannot count rows is not compared.

        Raises:
            AssertionError: A load failed, an asset was not reported, or the rows differ.
        """
        first = self.run_loads({"loadsmith/write_disposition": "replace"})
        second = self.run_loads({})
        wrong = [
            text
            for key in first
            for text in _differences(key, first[key], second[key], self.partition)
        ]
        assert not wrong, "\n".join(wrong)

    def run_loads(self, choices: Mapping[str, str]) -> dict[str, Rows]:
        """Run every load once, a little of it; return the rows of each asset.

        Raises:
            AssertionError: A load failed, or an asset was not reported.
        """
        keys = self.loaded_keys()
        tags = {"loadsmith/limit": str(self.limit), "loadsmith/row_count": "true", **choices}
        with dg.DagsterInstance.ephemeral() as instance:
            job = self.definitions().resolve_implicit_global_asset_job_def()
            result = job.execute_in_process(
                asset_selection=keys,
                partition_key=self.partition,
                tags=tags,
                instance=instance,
                raise_on_error=False,
            )
        failures = [
            str(event.step_failure_data.error_display_string)
            for event in result.all_events
            if event.is_step_failure
        ]
        assert result.success, "\n".join(failures)
        reported = {
            event.asset_key: event.step_materialization_data.materialization.metadata
            for event in result.get_asset_materialization_events()
        }
        missing = [key.to_user_string() for key in keys if key not in reported]
        assert not missing, f"not reported as materialized: {', '.join(missing)}"
        return {
            key.to_user_string(): Rows(
                loaded=_number(reported[key].get("rows_loaded")),
                total=_number(reported[key].get("dagster/row_count")),
            )
            for key in keys
        }


def _differences(key: str, first: Rows, second: Rows, partition: str | None) -> list[str]:
    """Return the differences between reported rows and rows in the destination."""
    if None in (first.loaded, first.total, second.loaded, second.total):
        return []
    loaded, total, more, held = first.loaded, first.total, second.loaded, second.total
    assert loaded is not None
    assert total is not None
    assert more is not None
    assert held is not None
    differences = []
    # A table with partitions holds the rows of the others, too.
    if total < loaded or (partition is None and total != loaded):
        differences.append(f"{key}: the first run reported {loaded} rows, and {total} are there.")
    if held > total + more or (more and not held):
        differences.append(
            f"{key}: the second run reported {more} rows; before it there were {total}, and after "
            f"it {held}."
        )
    return differences


def _number(value: dg.MetadataValue[Any] | None) -> int | None:
    return value.value if value is not None and isinstance(value.value, int) else None


def _maker_of(
    definitions: "str | dg.Definitions | Callable[[], dg.Definitions]",
) -> Callable[[], dg.Definitions]:
    if isinstance(definitions, str):
        target = definitions
        return lambda: load_definitions(target)
    if isinstance(definitions, dg.Definitions):
        made = definitions
        return lambda: made
    return definitions
