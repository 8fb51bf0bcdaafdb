"""The four front doors to one load: the same source into the same destination, however it is said.

Each door is asked in its own words. What it answers is looked at through the names of tables, for
the asset keys are the one thing that differs, as documented.
"""

import importlib
import itertools
import json
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import dlt
import duckdb
import pytest
import yaml

from loadsmith import (
    ConfigurableDltResource,
    DagsterDltFactory,
    DagsterDltResource,
    build_definitions,
    dlt_assets,
)
from loadsmith.assets.define import build_partitions_def
from loadsmith.assets.freshness import build_freshness_definitions
from loadsmith.config.partition_params import PartitionParams

_numbers = itertools.count(1)

SOURCE = """
import dlt

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")


def orders_rows(at=dlt.sources.incremental("at", initial_value="2023-01-01")):
    '''Orders of the shop.'''
    for number, day in enumerate(DAYS):
        yield {"id": number, "at": day, "total": number * 2.5}


def users_rows():
    yield [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Grace"}]


def details_rows(page):
    for user in page:
        yield {"user_id": user["id"], "letters": len(user["name"])}


def nothing_rows():
    yield from ()


def resources(prefix=""):
    orders = dlt.resource(
        orders_rows, name=f"{prefix}orders", primary_key="id", write_disposition="merge"
    )
    users = dlt.resource(users_rows, name=f"{prefix}users", write_disposition="replace")
    details = dlt.transformer(
        details_rows, name=f"{prefix}details", data_from=users, write_disposition="replace"
    )
    return orders, users, details, dlt.resource(nothing_rows, name=f"{prefix}nothing")


@dlt.source(name="shop")
def shop():
    return resources()
"""

TABLES = ("orders", "users", "details", "nothing")


@dataclass(frozen=True)
class Asked:
    """What is asked of a door, beside the load itself; in the words that files have for it."""

    settings: Mapping[str, Any]
    resource_settings: Mapping[str, Any]
    partitions: Mapping[str, Any] | None
    run_params: Mapping[str, Any]
    options: Mapping[str, Any]


class Door(ABC):
    """A front door, and the load behind it."""

    name: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module_name = f"shop_of_doors_{next(_numbers)}"
        (folder / f"{self.module_name}.py").write_text(SOURCE)
        self.database = folder / "shop.duckdb"

    @abstractmethod
    def build(self, asked: Asked) -> dg.Definitions:
        """Build the definitions."""

    @abstractmethod
    def key(self, table: str) -> str:
        """Return the documented asset key of a table."""

    @abstractmethod
    def upstream(self, table: str) -> set[str]:
        """Return the documented keys of what a table is made from."""

    @property
    def module(self) -> Any:
        return importlib.import_module(self.module_name)

    def pipeline(self) -> dlt.Pipeline:
        return dlt.pipeline(
            "shop", destination=dlt.destinations.duckdb(str(self.database)), dataset_name="ds"
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database)) as connection:
            return connection.execute(sql).fetchall()


class Decorator(Door):
    name = "decorator"

    def key(self, table: str) -> str:
        return f"dlt_shop_{table}"

    def upstream(self, table: str) -> set[str]:
        return {"shop_users", "dlt_shop_users"} if table == "details" else {f"shop_{table}"}

    def build(self, asked: Asked) -> dg.Definitions:
        settings = dict(asked.settings)
        retry = settings.pop("retry_policy", None)
        seconds = settings.pop("freshness_lower_bound_delta_seconds", None)

        @dlt_assets(
            dlt_source=self.module.shop(),
            dlt_pipeline=self.pipeline(),
            partitions_def=_partitions(asked),
            pool=settings.pop("pool", None),
            op_tags=settings.pop("op_tags", None),
            settings=settings,
            resource_settings=asked.resource_settings,
            retry_policy=dg.RetryPolicy(max_retries=retry["max_retries"]) if retry else None,
            **asked.options,
        )
        def load_shop(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
            yield from dlt.run(context=context, **asked.run_params)

        built = dg.Definitions(assets=[load_shop], resources={"dlt": DagsterDltResource()})
        if seconds is None:
            return built
        return dg.Definitions.merge(built, build_freshness_definitions(load_shop, seconds))


class Factory(Door):
    name = "factory"

    def key(self, table: str) -> str:
        return f"ds/raw/{table}"

    def upstream(self, table: str) -> set[str]:
        return {f"ds/src/{table}", *({"ds/raw/users"} if table == "details" else set())}

    def build(self, asked: Asked) -> dg.Definitions:
        settings = dict(asked.settings)
        options: dict[str, Any] = {
            name: settings.pop(name) for name in ("pool", "op_tags") if name in settings
        }
        if retry := settings.pop("retry_policy", None):
            options["retry_policy"] = dg.RetryPolicy(max_retries=retry["max_retries"])
        return DagsterDltFactory.build_definitions(
            [
                ConfigurableDltResource.config(
                    resource,
                    kinds=settings.get("kinds"),
                    meta={"dagster": {**settings, **_own_settings(asked, resource)}},
                )
                for resource in self.module.resources("ds.")
            ],
            destination=dlt.destinations.duckdb(str(self.database)),
            run_params=asked.run_params,
            partitions_def=_partitions(asked),
            **options,
            **asked.options,
        )


class Files(Door):
    """The door that is defined without dlt, so that it knows what files say, and what runs saw.

    Without a schema file and before the first run that is the names of resources alone.
    """

    name = "files"

    def key(self, table: str) -> str:
        return f"shop/{table}"

    def upstream(self, table: str) -> set[str]:
        return {"shop"}

    def build(self, asked: Asked) -> dg.Definitions:
        home = self.folder / "odp_config"
        (home / "workflows").mkdir(parents=True, exist_ok=True)
        config = {
            "resources": [{"resource_kind": "dlt", "params": {"project_dir": str(self.folder)}}]
        }
        (home / "dagster_config.yaml").write_text(yaml.safe_dump(config))
        load = {
            "task_type": "dlt",
            "group_name": asked.settings.get("group_name", "shop"),
            "params": {
                "source_module": f"{self.module_name}.shop",
                "destination": "duckdb",
                "destination_params": {"database": str(self.database)},
                "pipeline_params": {"pipeline_name": "shop", "dataset_name": "ds"},
                "run_params": dict(asked.run_params),
                **asked.options,
            },
            **_plain(asked.settings),
        }
        workflow: dict[str, Any] = {
            "assets": [
                {"asset_key": f"shop/{table}", **load, **asked.resource_settings.get(table, {})}
                for table in TABLES
            ]
        }
        if asked.partitions:
            workflow["partitions"] = [
                {"assets": [f"shop/{table}" for table in TABLES], "params": dict(asked.partitions)}
            ]
        (home / "workflows" / "shop.yaml").write_text(yaml.safe_dump(workflow))
        return build_definitions(home)


class Component(Door):
    name = "component"

    def key(self, table: str) -> str:
        return f"ds/{table}"

    def upstream(self, table: str) -> set[str]:
        return {"shop_users", "ds/users"} if table == "details" else {f"shop_{table}"}

    def build(self, asked: Asked) -> dg.Definitions:
        from dagster.components.core.component_tree import ComponentTree

        package = f"project_of_doors_{next(_numbers)}"
        folder = self.folder / package
        defs = folder / "src" / package / "defs" / "shop"
        defs.mkdir(parents=True)
        for place in (defs, defs.parent, defs.parent.parent):
            (place / "__init__.py").touch()
        (folder / "dg.toml").write_text(
            f'directory_type = "project"\n\n[project]\nroot_module = "{package}"\n'
        )
        (defs / "loads.py").write_text(
            textwrap.dedent(f"""
                import dlt
                from {self.module_name} import shop

                def pipeline():
                    return dlt.pipeline(
                        "shop",
                        destination=dlt.destinations.duckdb({str(self.database)!r}),
                        dataset_name="ds",
                    )
                """)
        )
        load = {
            "source": ".loads.shop",
            "pipeline": ".loads.pipeline",
            "nested_tables": False,
            "run_params": dict(asked.run_params),
            **asked.options,
            "resource_settings": _plain(asked.resource_settings),
            **_plain(asked.settings),
        }
        if asked.partitions:
            load["partitions_def"] = dict(asked.partitions)
        component = {
            "type": "loadsmith.DltLoadCollectionComponent",
            "attributes": {"loads": [load]},
        }
        (defs / "defs.yaml").write_text(yaml.safe_dump(component))
        sys.path.insert(0, str(folder / "src"))
        try:
            return ComponentTree.for_project(folder).build_defs()
        finally:
            sys.path.remove(str(folder / "src"))


DOORS: tuple[type[Door], ...] = (Decorator, Factory, Files, Component)


@dataclass(frozen=True)
class Built:
    """Definitions of a door, seen by the names of tables."""

    door: Door
    asked: Asked
    defs: dg.Definitions
    instance: dg.DagsterInstance

    def again(self) -> "Built":
        """Build the same once more, as Dagster does when it loads the code anew."""
        return replace(self, defs=self.door.build(self.asked))

    def specs(self) -> dict[str, dg.AssetSpec]:
        by_key = {spec.key.to_user_string(): spec for spec in self.defs.resolve_all_asset_specs()}
        return {table: by_key[self.door.key(table)] for table in TABLES}

    @property
    def op(self) -> Any:
        graph = self.defs.resolve_asset_graph()
        key = dg.AssetKey.from_user_string(self.door.key("orders"))
        return graph.get(key).assets_def.op

    def table_of(self, key: dg.AssetKey) -> str:
        return {self.door.key(table): table for table in TABLES}.get(
            key.to_user_string(), key.to_user_string()
        )

    def run(self, *tables: str, fails: bool = False, **options: Any) -> dg.ExecuteInProcessResult:
        config = options.pop("config", None)
        if config is not None:
            options["run_config"] = {"ops": {self.op.name: {"config": config}}}
        result = self.defs.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[
                dg.AssetKey.from_user_string(self.door.key(table)) for table in tables or TABLES
            ],
            instance=self.instance,
            raise_on_error=not fails,
            **options,
        )
        assert result.success is not fails
        return result

    def events(self, result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
        """Return the metadata of what was materialized, without what each run has anew."""
        return {
            self.table_of(event.materialization.asset_key): self.told(
                event.materialization.metadata
            )
            for event in result.get_asset_materialization_events()
        }

    def told(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: getattr(value, "value", value) for name, value in metadata.items()}
        for name in ("started_at", "finished_at", "load_ids", "jobs", "bytes_loaded"):
            found.pop(name, None)
        found = {name: value for name, value in found.items() if not name.startswith("seconds")}
        for name in (
            "loadsmith/load",
            "pipeline_name",
            "dagster/code_references",
            "dagster/component_origin",
        ):
            # Names of the load itself, which some doors are given and others make.
            found.pop(name, None)
        if "last_schema_change" in found:
            # Its first line says by which load and when.
            found["last_schema_change"] = found["last_schema_change"].partition("\n\n")[2]
        if isinstance(found.get("cursor"), dict):
            found["cursor"] = {**found["cursor"], "load_id": None}
        for name in ("loadsmith/resource", "dagster-dlt/resource"):
            if name in found:
                found[name] = str(found[name]).removeprefix("ds.")
        return found

    def checks(self, result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
        return {
            (self.table_of(found.asset_key), found.check_name): found.passed
            for found in result.get_asset_check_evaluations()
        }


@pytest.fixture
def doors() -> tuple[type[Door], ...]:
    return DOORS


@pytest.fixture(params=DOORS, ids=lambda door: door.name)
def door_class(request: pytest.FixtureRequest) -> type[Door]:
    return request.param


@pytest.fixture
def make_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Build what is asked of a door, in a folder of its own."""
    monkeypatch.delenv("LOADSMITH_PROFILE", raising=False)
    modules = set(sys.modules)
    with dg.DagsterInstance.ephemeral() as instance:

        def make(door_class: type[Door], **asked: Any) -> Built:
            folder = tmp_path / f"{door_class.name}_{next(_numbers)}"
            folder.mkdir()
            monkeypatch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
            monkeypatch.chdir(folder)
            monkeypatch.syspath_prepend(str(folder))
            door = door_class(folder)
            found = Asked(
                asked.get("settings", {}),
                asked.get("resource_settings", {}),
                asked.get("partitions"),
                asked.get("run_params", {}),
                asked.get("options", {}),
            )
            return Built(door, found, door.build(found), instance)

        yield make
    for name in set(sys.modules) - modules:
        if name.startswith(("shop_of_doors", "project_of_doors")):
            del sys.modules[name]


@pytest.fixture
def build(make_built: Any, door_class: type[Door]) -> Any:
    """Build what is asked of the door of this test."""
    return lambda **asked: make_built(door_class, **asked)


def _own_settings(asked: Asked, resource: Any) -> Mapping[str, Any]:
    """Return the settings of a resource of the factory, merged as the other doors merge them."""
    own = dict(asked.resource_settings.get(resource.name.removeprefix("ds."), {}))
    tags = {**asked.settings.get("tags", {}), **own.pop("tags", {})}
    return {**own, "tags": tags}


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what YAML can write."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def _partitions(asked: Asked) -> Any:
    if asked.partitions is None:
        return None
    return build_partitions_def(PartitionParams.model_validate(asked.partitions).to_settings())
