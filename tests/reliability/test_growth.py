"""What stays in the folders of a load after many runs is bounded."""

import threading
from pathlib import Path

import dagster as dg
import killing
import pytest

from loadsmith.engine.locks import exclusive

KEPT = 3


def files_of(shop: killing.Shop) -> list[str]:
    """Return the files and folders in the folder of working directories."""
    home = shop.pipelines_dir
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


def loaded(shop: killing.Shop) -> list[Path]:
    return sorted((shop.pipelines_dir / "shop" / "load" / "loaded").iterdir())


@pytest.fixture
def shop(make_shop) -> killing.Shop:
    return make_shop("duckdb")


def test_a_working_directory_keeps_the_newest_packages_that_dagster_was_told_of(shop):
    # What plain dlt has loaded is not loadsmith's to delete.
    shop.make_pipeline().run([{"id": 1}], table_name="by_dlt")
    (by_dlt,) = loaded(shop)
    counts = []
    for batch in range(KEPT + 3):
        assert killing.run_batch(shop, batch).success
        counts.append(len(files_of(shop)))
    assert loaded(shop)[0] == by_dlt
    assert len(loaded(shop)) == KEPT + 1
    assert len(set(counts[KEPT - 1 :])) == 1, counts
    assert killing.found(shop) == killing.expected(KEPT + 3)


def test_partitions_leave_nothing_behind(shop):
    keys = dg.StaticPartitionsDefinition(["a", "b", "c"])
    counts = set()
    for batch, key in enumerate("abc"):
        assert killing.run_batch(shop, batch, partition=key, partitions_def=keys).success
        counts.add(tuple(files_of(shop)))
    assert len(counts) == 1, counts
    assert not [name for name in counts.pop() if name.endswith(".lock")]


def test_a_lock_whose_file_is_removed_is_held_by_one_at_a_time(tmp_path):
    path, inside, most = tmp_path / "one.lock", 0, 0
    ended = []

    def work() -> None:
        nonlocal inside, most
        for _ in range(60):
            with exclusive(path, what="it", who="me", log=lambda _line: None, is_removed=True):
                inside += 1
                most = max(most, inside)
                (tmp_path / "written").write_text("something")
                inside -= 1
        ended.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(ended), most) == (8, 1)
    assert not path.exists()
