"""Projects for the doors that own their ops: files of a YAML project, a factory, a component."""

from pathlib import Path
from typing import Any

from bench import work

# What `source_module` names; written into the project, for a source needs a real module.
_SOURCE = """
import dlt

ROWS = [{"id": number, "name": f"name {number}", "value": number / 4} for number in range(10)]


@dlt.source(name="bench")
def bench(resources: int):
    for number in range(resources):
        yield dlt.resource(ROWS, name=f"table_{number:04}")
"""

_SETTINGS = """
resources:
  - resource_kind: dlt
    params:
      project_dir: dlt_project
      pipelines_dir: pipelines
"""

_ASSET = """
  - asset_key: {source}/{table}
    task_type: dlt
    params:
      source_module: many.source.bench
      source_params:
        resources: {resources}
      schema_file_path: schemas/export/{source}.schema.yaml
      destination: duckdb
      destination_params:
        database: {source}.duckdb
"""


def write_project(folder: Path, *, sources: int, resources: int, tables: int = 1) -> Path:
    """Write a YAML project of so many sources, with resources of so many tables each."""
    source = folder / "dlt_project" / "many"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("")
    (source / "source.py").write_text(_SOURCE)
    export = folder / "dlt_project" / "schemas" / "export"
    export.mkdir(parents=True)
    config = folder / "odp_config"
    (config / "workflows").mkdir(parents=True)
    (config / "dagster_config.yaml").write_text(_SETTINGS)
    text = schema_text(resources, tables)
    for number in range(sources):
        name = f"source_{number:03}"
        (export / f"{name}.schema.yaml").write_text(text)
        entries = [
            _ASSET.format(source=name, table=f"table_{resource:04}", resources=resources)
            for resource in range(resources)
        ]
        (config / "workflows" / f"{name}.yaml").write_text("assets:" + "".join(entries))
    return config


def schema_text(resources: int, tables: int) -> str:
    """Return a schema as dlt exports it, written without dlt: one root table for each resource."""
    lines = ["version: 1", "version_hash: bench", "engine_version: 11", "name: bench", "tables:"]
    for resource in range(resources):
        root = f"table_{resource:04}"
        for number in range(tables):
            lines += [
                f"  {root}__nested_{number}:" if number else f"  {root}:",
                "    columns:",
                *_column("id", "bigint"),
                *_column("name", "text"),
                *_column("value", "double"),
                *_column("_dlt_id", "text", nullable=False),
            ]
            if number:
                lines += [*_column("_dlt_parent_id", "text", nullable=False), f"    parent: {root}"]
            else:
                lines += [
                    *_column("_dlt_load_id", "text", nullable=False),
                    "    write_disposition: append",
                    f"    resource: {root}",
                ]
    return "\n".join([*lines, "settings: {}", "normalizers:", *_NORMALIZERS]) + "\n"


_NORMALIZERS = (
    "  names: snake_case",
    "  json:",
    "    module: dlt.common.normalizers.json.relational",
)


def _column(name: str, data_type: str, nullable: bool = True) -> list[str]:
    return [
        f"      {name}:",
        f"        data_type: {data_type}",
        f"        nullable: {str(nullable).lower()}",
    ]


def build_yaml(folder: Path, resources: int) -> Any:
    """Return the definitions of a YAML project of one load."""
    from loadsmith import build_definitions

    return build_definitions(write_project(folder, sources=1, resources=resources))


def build_factory(folder: Path, resources: int) -> Any:
    """Return the definitions of the factory for a list of resources."""
    import dlt

    from loadsmith import ConfigurableDltResource, DagsterDltFactory

    rows = [{"id": number, "name": f"name {number}", "value": number / 4} for number in range(10)]
    return DagsterDltFactory.build_definitions(
        tuple(
            ConfigurableDltResource.config(
                dlt.resource(
                    rows, name=f"bench_data.table_{number:04}", table_name=f"t_{number:04}"
                )
            )
            for number in range(resources)
        ),
        destination=dlt.destinations.duckdb(str(folder / "bench.duckdb")),
        pipelines_dir=str(folder / "pipelines"),
    )


def build_component(folder: Path, resources: int) -> Any:
    """Return the definitions of the component for one load."""
    import dagster as dg
    import dlt

    from loadsmith import DltLoadCollectionComponent, DltLoadSpecModel

    pipeline = work.make_pipeline(folder, dlt.destinations.duckdb(str(folder / "bench.duckdb")))
    load = DltLoadSpecModel(source=work.many_source(resources), pipeline=pipeline)
    return dg.build_defs_for_component(DltLoadCollectionComponent(loads=[load]))


def run_all(definitions: Any) -> None:
    """Materialize all assets in this process."""
    import dagster as dg

    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance).success
