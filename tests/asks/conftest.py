"""A shop in one DuckDB file, and what Dagster was told of a run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import duckdb
import pytest
import yaml

from loadsmith import DagsterDltResource, dlt_assets


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True)
class Told:
    """What Dagster was told of one run."""

    result: dg.ExecuteInProcessResult
    events: Mapping[str, Mapping[str, Any]]
    log: str

    def check(self, key: str, name: str) -> dg.AssetCheckEvaluation:
        """Return how a check ended."""
        (found,) = (
            evaluation
            for evaluation in self.result.get_asset_check_evaluations()
            if (evaluation.asset_key.to_user_string(), evaluation.check_name) == (key, name)
        )
        return found

    @property
    def failure(self) -> str:
        """The message of the step that failed."""
        (event,) = (event for event in self.result.all_events if event.is_step_failure)
        return str(event.step_failure_data.error_display_string)


def told_of(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> Told:
    events: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        materialization = event.materialization
        events[materialization.asset_key.to_user_string()] = {
            name: value.value for name, value in materialization.metadata.items()
        }
    log = "\n".join(entry.user_message for entry in instance.all_logs(result.run_id))
    return Told(result, events, log)


@dataclass(frozen=True)
class Shop:
    """A pipeline into a file, and the ways that a test goes with it."""

    database: Path
    pipeline: dlt.Pipeline
    instance: dg.DagsterInstance

    def assets(self, source: Any, **options: Any) -> dg.AssetsDefinition:
        """Make the assets of a source by the decorator."""
        options.setdefault("dlt_pipeline", self.pipeline)

        @dlt_assets(dlt_source=source, **options)
        def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
            yield from dlt.run(context=context)

        return loaded

    def write_project(self, home: Path, **params: Any) -> None:
        """Write a project in YAML of one load of one row into the file."""
        (home / "workflows").mkdir(parents=True)
        (home / "dagster_config.yaml").write_text("resources: []\n")
        load = {
            "source_module": "loadsmith.testing.sources.empty",
            "destination": "duckdb",
            "destination_params": {"database": str(self.database)},
            **params,
        }
        entry = {"asset_key": "s/something", "task_type": "dlt", "group_name": "g", "params": load}
        (home / "workflows" / "s.yaml").write_text(yaml.safe_dump({"assets": [entry]}))

    def run(self, assets: Any, *, fails: bool = False, **options: Any) -> Told:
        """Materialize assets, as one run of one Dagster instance."""
        options.setdefault("resources", {"dlt": DagsterDltResource()})
        result = dg.materialize(
            assets if isinstance(assets, list) else [assets],
            instance=self.instance,
            raise_on_error=not fails,
            **options,
        )
        assert result.success is not fails
        return told_of(result, self.instance)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Read the destination."""
        with duckdb.connect(str(self.database)) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    database = tmp_path / "shop.duckdb"
    pipeline = dlt.pipeline(
        "shop", destination=dlt.destinations.duckdb(str(database)), dataset_name="ds"
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Shop(database, pipeline, instance)
