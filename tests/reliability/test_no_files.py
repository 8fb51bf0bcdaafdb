"""What stands in the place of a file and is none is named, and never waited for."""

import os

import dlt
import pytest

from loadsmith import build_definitions
from loadsmith.cli.home import open_instance
from loadsmith.engine.run import run_load
from loadsmith.errors import LoadsmithError
from loadsmith.model import LoadDefinition, PipelineSettings, RunRequest, SourceReference
from loadsmith.project.source_files import source_problem

WORKFLOW = """\
assets:
  - asset_key: shop/orders
    task_type: dlt
    params:
      source_module: sql_database
      schema_file_path: FOLDER/schemas/shop.schema.yaml
      destination: duckdb
      destination_params: {credentials: shop.db}
      pipeline_params: {pipeline_name: shop, dataset_name: raw}
"""
PLACES = ["dagster_config.yaml", "workflows/shop.yaml", "schemas/shop.schema.yaml"]


@pytest.fixture
def project(tmp_path):
    (tmp_path / "workflows").mkdir()
    (tmp_path / "schemas").mkdir()
    (tmp_path / "workflows" / "shop.yaml").write_text(WORKFLOW.replace("FOLDER", str(tmp_path)))
    return tmp_path


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
    ids=["fifo", "device"],
)
def test_a_fifo_or_a_device_in_the_place_of_a_file_is_named(project, place, make, kind):
    path = project / place
    path.unlink(missing_ok=True)
    make(path)
    with pytest.raises(LoadsmithError, match=rf"{path.name}.*it is {kind}.*, not a file"):
        build_definitions(str(project))


def test_secrets_that_are_a_fifo_are_named(tmp_path):
    path = tmp_path / "secrets.toml"
    os.mkfifo(path)
    definition = LoadDefinition(
        name="shop",
        source=SourceReference(module="shop", secrets_files=(str(path),)),
        pipeline=PipelineSettings(pipeline_name="shop"),
    )
    with (
        pytest.raises(LoadsmithError, match=r"secrets\.toml.*it is a FIFO"),
        run_load(definition, RunRequest()),
    ):
        pass


def test_a_fifo_as_the_file_of_a_database_is_told(tmp_path):
    os.mkfifo(tmp_path / "x.duckdb")
    definition = LoadDefinition(
        name="orders",
        source=lambda: dlt.resource([{"id": 1}], name="orders"),
        pipeline=lambda: dlt.pipeline(
            "orders",
            destination=dlt.destinations.duckdb(str(tmp_path / "x.duckdb")),
            dataset_name="raw",
            pipelines_dir=str(tmp_path / "p"),
        ),
    )
    with (
        pytest.raises(LoadsmithError, match=r"x\.duckdb cannot be a database: it is a FIFO"),
        run_load(definition, RunRequest()),
    ):
        pass


def test_a_fifo_as_the_settings_of_dagster_is_told(tmp_path):
    os.mkfifo(tmp_path / "dagster.yaml")
    with pytest.raises(LoadsmithError, match=r"dagster\.yaml cannot be read: it is a FIFO"):
        open_instance(tmp_path)


def test_a_fifo_as_the_module_of_a_source_is_told(tmp_path):
    (tmp_path / "shop").mkdir()
    os.mkfifo(tmp_path / "shop" / "source.py")
    told = source_problem("shop.source.shop", str(tmp_path))
    assert "source.py cannot be read: it is a FIFO" in told
