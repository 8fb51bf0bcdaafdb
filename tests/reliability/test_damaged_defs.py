"""Hundreds of damaged `defs.yaml` end in the assets of a `dg` project, or in file and line."""

import random
import re
import sys
import time
import warnings

import pytest
from damaging import damage

from loadsmith.cli.dg_project import check_components
from loadsmith.errors import ConfigError

SEED = 20_262
DAMAGES = 400
MAX_SECONDS = 4.0
PACKAGE = "damaged_defs_project"

SOURCE = """
import dlt


@dlt.resource(primary_key="id")
def orders(day=1):
    yield {"id": day}


@dlt.source
def shop(day=1):
    return [orders(day)]


def pipeline():
    return dlt.pipeline("live", destination="duckdb", dataset_name="live_data")
"""

SCHEMA = """
name: shop
version: 1
version_hash: x
engine_version: 11
tables:
  orders:
    columns:
      id: {data_type: bigint, nullable: false, primary_key: true}
    resource: orders
"""

DEFS = """
# The loads of the shop
type: loadsmith.DltLoadCollectionComponent

attributes:
  defaults:
    destination: duckdb
    destination_params: {database: shop.duckdb}
    tags: &tags {team: data, since: 2024-01-01}
  profiles:
    prod:
      destination: postgres
  loads:
    - name: shop
      source_module: .shop_source.shop
      source_params: {day: 1, token: "{{ env.SHOP_TOKEN }}"}
      schema_file_path: tables.schema.yaml
      pipeline_params: {pipeline_name: shop, dataset_name: shop_data}
      translation:
        group_name: "{{ 'shop' }}"
        tags: *tags
      partitions_def: {type: daily, start: '2024-01-01'}
    - source: .shop_source.shop
      pipeline: .shop_source.pipeline
      owners: ["team:data"]
---
type: loadsmith.DltLoadCollectionComponent
attributes:
  loads:
    - source_module: rest_api
      source_params:
        client: {base_url: "https://example.com"}
        resources: [posts]
      destination: duckdb
      pipeline_params: {dataset_name: posts}
      retry_policy: {max_retries: 3}
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A dg project with one folder below its defs."""
    folder = tmp_path / PACKAGE / "defs" / "ingest"
    folder.mkdir(parents=True)
    for parent in (folder.parent, folder.parent.parent):
        (parent / "__init__.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "{PACKAGE}"\n'
    )
    (folder / "tables.schema.yaml").write_text(SCHEMA)
    (folder / "shop_source.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def wrong_with(error: ConfigError, raw: bytes) -> str | None:
    """Return what is wrong with the way in which a damaged file is told of, or None."""
    last = len(re.findall("\r\n|[\n\r\x85\u2028\u2029]", raw.decode("utf-8", "replace"))) + 1
    if not error.problems:
        return f"without a place: {error}"
    for problem in error.problems:
        # A name that was damaged may lead to another file that is told of, with its own line.
        inside = problem.file == "ingest/defs.yaml" and problem.line <= last
        if not (inside or problem.file.endswith("tables.schema.yaml")):
            return f"at {problem.file}:{problem.line} of {last}: {problem}"
        if problem.line < 1 or problem.column < 1 or not problem.message:
            return f"without line and column: {problem}"
        if len(str(problem)) > 2_000 or "Traceback" in str(problem):
            return f"at length: {str(problem)[:300]}"
    # A lone surrogate, say, could not be printed.
    str(error).encode()
    return None


def test_damaged_definitions_end_in_assets_or_in_file_and_line(root):
    path = root / PACKAGE / "defs" / "ingest" / "defs.yaml"
    path.write_text(DEFS)
    assert check_components(root) == 3
    random_ = random.Random(SEED)
    read = refused = 0
    failures = []
    for number in range(DAMAGES):
        how, raw = damage(random_, DEFS)
        path.write_bytes(raw)
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                check_components(root)
                read += 1
            except ConfigError as error:
                refused += 1
                wrong = wrong_with(error, raw)
                if wrong:
                    failures.append(f"{number} {how}: told {wrong}")
            except Exception as error:  # noqa: BLE001 - that there is no other one is the promise
                failures.append(f"{number} {how}: {error!r}")
        seconds = time.process_time() - started
        if seconds > MAX_SECONDS:
            failures.append(f"{number} {how}: took {seconds:.1f} s")
    print(f"seed {SEED}: {read} read, {refused} refused")  # noqa: T201 - shown with a failure
    assert not failures, f"seed {SEED}, {len(failures)}:\n" + "\n".join(failures[:20])
    # Damages that only ever destroy, or never do, would show nothing.
    assert min(read, refused) > DAMAGES // 10
