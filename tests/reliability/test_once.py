"""A run that is killed at any point and then run again leaves what one run would have left."""

import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg
import dlt
import killing
import pytest
from killing import (
    EXTRACTED,
    POINTS,
    Shop,
    broken_once,
    in_child,
    load_batches,
    loads_of,
    run_batch,
)

from loadsmith.assets.decorator import dlt_assets
from loadsmith.assets.run import DagsterDltResource

#: DuckDB is killed everywhere; the others where their own code has part in it.
CASES = [
    *(("duckdb", point, True) for point in POINTS),
    *(
        ("duckdb", point, False)
        for point in ("extract ended", "append job done", "merge job done", "load committed")
    ),
    *(
        (destination, point, keeps)
        for destination in ("postgres", "filesystem")
        for point in ("append job done", "merge job done", "load committed")
        if (destination, point) != ("filesystem", "merge job done")
        for keeps in (True, False)
    ),
    *(("mariadb", "append job done", keeps) for keeps in (True, False)),
]


def killed_then_run_again(
    shop: Shop, point: str, *, keeps: bool, batches: tuple[int, ...] = (0, 1)
) -> None:
    log = shop.folder / "log"
    keeps_runs = point == "acknowledged"
    first = in_child(load_batches, shop, batches, point, keeps_runs, output=log)
    first.join(60)
    assert first.exitcode == -9, log.read_text()[-4000:]
    if not keeps:
        shutil.rmtree(shop.pipelines_dir)
    again = in_child(load_batches, shop, batches[-1:], None, keeps_runs, output=log)
    again.join(60)
    assert again.exitcode == 0, log.read_text()[-4000:]


@pytest.mark.parametrize(
    ("destination", "point", "keeps"),
    [
        pytest.param(
            *case,
            id=f"{case[0]}-{case[1]}-{'kept' if case[2] else 'gone'}".replace(" ", "_"),
            marks=[pytest.mark.postgres] if case[0] == "postgres" else [],
        )
        for case in CASES
    ],
)
def test_a_killed_run_that_is_run_again_leaves_each_row_once(make_shop, destination, point, keeps):
    shop = make_shop(destination)
    killed_then_run_again(shop, point, keeps=keeps)
    assert killing.found(shop) == killing.expected(2, merges=destination != "filesystem")
    nested = killing.expected_nested(2, merges=destination != "filesystem")
    assert killing.found_nested(shop) == nested
    assert shop.staging_datasets() == []
    pages = [call for call in shop.calls() if call.startswith("1 events")]
    if (keeps and POINTS.index(point) >= EXTRACTED) or point in LOADED:
        assert len(pages) == len(set(pages)), "what was extracted was extracted again"


#: From here on the destination has the load, so that it is not extracted again anywhere.
LOADED = ("load committed", "load archived", "first event", "acknowledged")


@pytest.mark.parametrize("point", ["extract ended", "normalize committed", "append job done"])
def test_the_very_first_run_is_not_extracted_again_either(make_shop, point):
    # dlt empties a working directory whose dataset is not there, and here it is not yet.
    shop = make_shop("duckdb")
    killed_then_run_again(shop, point, keeps=True, batches=(0,))
    assert killing.found(shop) == killing.expected(1)
    assert killing.found_nested(shop) == killing.expected_nested(1)
    assert shop.calls().count("0 events 0") == 1


def test_a_run_that_dies_while_dlt_writes_a_schema_is_run_again(make_shop):
    # dlt writes it beside its place first, and would take that file for a schema later.
    shop = make_shop("duckdb")
    first = in_child(load_batches, shop, (0,), "schema written", output=shop.folder / "log")
    first.join(60)
    assert first.exitcode == -9
    folder = shop.pipelines_dir / shop.pipeline_name / "schemas"
    assert [path for path in folder.iterdir() if ".schema." not in path.name]
    assert run_batch(shop, 0).success
    assert killing.found(shop) == killing.expected(1)
    assert not [path for path in folder.iterdir() if ".schema." not in path.name]


def test_what_a_lost_machine_kept_is_not_loaded_after_another_one_has_taken_over(make_shop):
    shop = make_shop("duckdb")
    first = in_child(load_batches, shop, (0, 1), "load begins", output=shop.folder / "log")
    first.join(60)
    assert first.exitcode == -9
    other = replace(shop, machine="m1")
    assert run_batch(other, 1).success
    assert run_batch(shop, 2).success
    assert killing.found(shop) == killing.expected(3)
    assert killing.found_nested(shop) == killing.expected_nested(3)


def test_a_destination_that_is_down_costs_no_second_extract(make_shop, tmp_path):
    shop = make_shop("filesystem")
    blocked = tmp_path / "files"
    blocked.write_text("a file where the bucket should be")
    result = run_batch(shop, 0)
    assert not result.success
    blocked.unlink()
    assert run_batch(shop, 0).success
    assert killing.found(shop) == killing.expected(1)


def test_dagsters_retry_loads_each_row_once(make_shop, tmp_path):
    shop = make_shop("duckdb")
    defs = loads_of(shop, broken_once(tmp_path, disposition="append"), retries=1)
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process()
    assert result.success
    assert len(shop.read("good", "id")) == 10
    assert len(shop.read("bad", "id")) == 20


@pytest.mark.parametrize("disposition", ["append", "replace"])
def test_a_retry_of_a_load_that_kept_the_others_loads_the_failed_ones_alone(
    make_shop, tmp_path, disposition
):
    shop = make_shop("duckdb")
    defs = loads_of(
        shop, broken_once(tmp_path, disposition=disposition), retries=1, on_error="keep"
    )
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process()
    assert result.success
    assert (tmp_path / "calls").read_text().splitlines() == ["good"]
    assert len(shop.read("good", "id")) == 10
    assert len(shop.read("bad", "id")) == 20
    assert set(killing.events_of(result)) == {"dlt_shop_good", "dlt_shop_bad"}


@pytest.mark.parametrize("disposition", ["append", "merge"])
def test_a_re_execution_from_failure_loads_the_failed_ones_alone(
    make_shop, tmp_path, monkeypatch, disposition
):
    shop = make_shop("duckdb")
    monkeypatch.setenv("SHOP", f"{tmp_path}|{shop.dataset}|{disposition}")
    # Dagster's step processes import the module anew, from the working directory.
    monkeypatch.chdir(Path(killing.__file__).parent)
    job = dg.reconstructable(killing.make_keeping_job)
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        first = dg.execute_job(job, instance=instance)
        assert not first.success
        assert set(killing.events_of(first)) == {"dlt_shop_good"}
        failure = first.failure_data_for_node("shop_load").error.cause.message
        assert "resource 'bad'" in failure
        again = dg.execute_job(
            job,
            instance=instance,
            reexecution_options=dg.ReexecutionOptions.from_failure(first.run_id, instance),
        )
    assert again.success
    assert (tmp_path / "calls").read_text().splitlines() == ["good"]
    assert len(shop.read("good", "id")) == 10
    assert len(shop.read("bad", "id")) == 20


def test_a_run_that_follows_a_good_one_loads_anew(make_shop, tmp_path):
    shop = make_shop("duckdb")
    (tmp_path / "broken").touch()
    defs = loads_of(shop, broken_once(tmp_path, disposition="append"))
    job = defs.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            assert job.execute_in_process(instance=instance).success
    assert len(shop.read("good", "id")) == 20


def test_a_sink_that_cannot_be_read_gets_everything_that_was_extracted(make_shop, tmp_path):
    """It is given rows at least once: nothing in it can be counted or taken back."""
    shop = make_shop("filesystem")
    rows = []
    down = [True]

    @dlt.destination(batch_size=10, name="sink")
    def sink(items, table):
        if down[0]:
            raise ConnectionError("the sink is down")
        rows.extend(item["id"] for item in items)

    def make_pipeline():
        return dlt.pipeline(
            "sink", destination=sink, dataset_name="ds", pipelines_dir=str(shop.pipelines_dir)
        )

    def load():
        @dlt_assets(
            dlt_source=broken_once(tmp_path, disposition="append"),
            dlt_pipeline=make_pipeline,
            name="sink_load",
        )
        def sink_load(context: dg.AssetExecutionContext, loads: DagsterDltResource):
            yield from loads.run(context=context)

        return dg.materialize(
            [sink_load], resources={"loads": DagsterDltResource()}, raise_on_error=False
        )

    (tmp_path / "broken").touch()
    assert not load().success
    down[0] = False
    assert load().success
    assert sorted(rows) == sorted([*range(10), *range(20)])
    assert (tmp_path / "calls").read_text().splitlines() == ["good"]


@pytest.mark.parametrize(
    ("destination", "keeps"), [("duckdb", True), ("duckdb", False), ("mariadb", False)]
)
def test_rows_with_ids_that_are_there_already_are_loaded_once(make_shop, destination, keeps):
    shop = make_shop(destination)
    assert killing.load_own_ids(shop, 0, None)
    # All rows are there, and none is marked as loaded.
    point, log = "package completing", shop.folder / "log"
    killed = in_child(killing.load_own_ids, shop, 1, point, output=log)
    killed.join(60)
    assert killed.exitcode == -9, log.read_text()[-4000:]
    if not keeps:
        shutil.rmtree(shop.pipelines_dir)
    assert killing.load_own_ids(shop, 1, None)
    both = [(batch,) for batch in (0, 1) for _ in range(5)]
    assert shop.read("rows", "batch") == both
    assert shop.read("rows__items", "sku") == [(f"{b}-{n}",) for b in (0, 1) for n in range(5)]
    subs = shop.read("rows__items__sub", "_dlt_parent_id")
    assert subs == shop.read("rows__items", "_dlt_id")
