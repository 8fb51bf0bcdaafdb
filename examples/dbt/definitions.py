"""Loads, and the dbt models that hang from their tables."""

from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets

from loadsmith import build_definitions

HERE = Path(__file__).parent
project = DbtProject(project_dir=HERE / "dbt")
project.prepare_if_dev()


@dbt_assets(manifest=project.manifest_path)
def models(context: dg.AssetExecutionContext, dbt: DbtCliResource):
    yield from dbt.cli(["build"], context=context).stream()


defs = dg.Definitions.merge(
    build_definitions(HERE / "odp_config"),
    dg.Definitions(assets=[models], resources={"dbt": DbtCliResource(project)}),
)
