"""Dagster definitions in, a class of tests for pytest out; for loads that Python describes."""

import json
from collections.abc import Callable
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
            best: with it, a process of its own shows whether definitions keep their hands off
            network, secrets and disk.
        runs_loads: Whether every load is run twice, into the destination that it has. Give
            definitions whose destination is one to try things on.
        limit: Pages of each resource in those runs.
        partition: The partition of those runs, where the assets have some.
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


class DefinitionsTests:
    """What definitions with loads promise; `build_definitions_tests` makes it one of yours."""

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
        """Run every load twice, a little of it, and look at what it reports.

        Raises:
            AssertionError: A load failed, or an asset was not reported.
        """
        keys = self.loaded_keys()
        for _ in range(2):
            with dg.DagsterInstance.ephemeral() as instance:
                job = self.definitions().resolve_implicit_global_asset_job_def()
                result = job.execute_in_process(
                    asset_selection=keys,
                    partition_key=self.partition,
                    tags={"loadsmith/limit": str(self.limit)},
                    instance=instance,
                    raise_on_error=False,
                )
            failures = [
                str(event.step_failure_data.error_display_string)
                for event in result.all_events
                if event.is_step_failure
            ]
            assert result.success, "\n".join(failures)
            reported = {event.asset_key for event in result.get_asset_materialization_events()}
            missing = [key.to_user_string() for key in keys if key not in reported]
            assert not missing, f"not reported as materialized: {', '.join(missing)}"


def _maker_of(
    definitions: "str | dg.Definitions | Callable[[], dg.Definitions]",
) -> Callable[[], dg.Definitions]:
    if isinstance(definitions, str):
        target = definitions
        return lambda: load_definitions(target)
    if isinstance(definitions, dg.Definitions):
        found = definitions
        return lambda: found
    return definitions
