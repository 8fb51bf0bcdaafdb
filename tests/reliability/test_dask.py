"""The ops of a load run on Dask's workers, side by side."""

import os
from pathlib import Path

import dagster as dg
import dask_loads
import pytest


@pytest.mark.long
@pytest.mark.postgres
def test_ops_that_run_on_dask_load_each_row_once(make_shop, tmp_path, monkeypatch):
    shop = make_shop("postgres")
    monkeypatch.setenv("DASK_LOADS", str(tmp_path))
    monkeypatch.setenv("DASK_DATASET", shop.dataset)
    folder = str(Path(__file__).parent)
    python_path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", python_path)
    home = tmp_path / "dagster_home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with (
        dg.DagsterInstance.get() as instance,
        dg.execute_job(dg.reconstructable(dask_loads.make_job), instance) as result,
    ):
        assert result.success
    for table in dask_loads.TABLES:
        assert [key for (key,) in shop.read(table, "id")] == list(range(dask_loads.ROWS))
        assert len(shop.read(f"{table}__items", "k")) == 2 * dask_loads.ROWS
