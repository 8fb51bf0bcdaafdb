"""A package that was extracted and is damaged since is extracted again; no row is lost."""

import gc
import gzip
import json
import shutil

import dlt
import pytest
from dlt.common.versioned_state import generate_state_version_hash

from loadsmith.engine.locks import lock_name
from loadsmith.engine.run import run_load
from loadsmith.errors import LoadsmithError
from loadsmith.model import LoadDefinition, RunRequest


def torn(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def changed(path):
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "without rows": lambda path: path.write_bytes(gzip.compress(b"")),
    "torn": torn,
    "changed": changed,
    "gone": lambda path: path.unlink(),
}


@pytest.fixture
def shop(tmp_path):
    class Shop:
        def __init__(self):
            self.rows = 100
            self.lines = []

        def load(self, **request):
            def orders(cursor=dlt.sources.incremental("id", initial_value=-1)):
                yield [
                    {"id": n, "items": [{"k": 1}]} for n in range(cursor.last_value + 1, self.rows)
                ]

            definition = LoadDefinition(
                name="orders",
                source=lambda: dlt.resource(orders, name="orders"),
                pipeline=lambda: dlt.pipeline(
                    "orders",
                    destination=dlt.destinations.duckdb(str(tmp_path / "x.duckdb")),
                    dataset_name="raw",
                    pipelines_dir=str(tmp_path / "p"),
                ),
            )
            with run_load(definition, RunRequest(warn=self.lines.append, **request)) as result:
                return result

        def files(self):
            """Return all files of the working directory but those of loaded packages."""
            return sorted(
                path.relative_to(tmp_path).as_posix()
                for path in (tmp_path / "p").rglob("*")
                if path.is_file() and "/loaded/" not in path.as_posix()
            )

        def extracted(self):
            found = tmp_path.glob("p/**/normalize/extracted/*/new_jobs/orders.*")
            return [path for path in found if path.is_file()]

        def counts(self):
            pipeline = dlt.pipeline(
                "reader",
                destination=dlt.destinations.duckdb(str(tmp_path / "x.duckdb")),
                dataset_name="raw",
            )
            with pipeline.sql_client() as client:
                [(rows, ids)] = client.execute_sql(
                    "SELECT count(*), count(DISTINCT id) FROM orders"
                )
                [(nested,)] = client.execute_sql("SELECT count(*) FROM orders__items")
            return rows, ids, nested

    return Shop()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("first", [0, 100])
def test_a_damaged_package_is_extracted_again(shop, damage, first):
    if first:
        shop.load()
        shop.rows = 300
    with pytest.raises(InterruptedError):
        shop.load(cancelled=lambda: bool(shop.extracted()))
    (path,) = shop.extracted()
    DAMAGES[damage](path)
    shop.load()
    assert shop.counts() == (shop.rows, shop.rows, shop.rows)
    assert [line for line in shop.lines if "damaged" in line]
    shop.rows += 50
    shop.load()
    assert shop.counts() == (shop.rows, shop.rows, shop.rows)


@pytest.mark.parametrize(
    ("name", "damage"),
    # Where the state is gone, dlt empties the folder when code makes the pipeline.
    [("state.json", "empty"), *(("schemas/*.schema.json", damage) for damage in ("empty", "gone"))],
)
def test_cursors_that_dlt_may_not_restore_are_not_thrown_away(
    shop, tmp_path, monkeypatch, name, damage
):
    monkeypatch.setenv("RESTORE_FROM_DESTINATION", "false")
    shop.load()
    shop.rows = 200
    (path,) = (tmp_path / "p" / "orders").glob(name)
    kept = path.read_bytes()
    DAMAGES[damage](path)
    for _ in range(2):
        with pytest.raises(LoadsmithError, match="`restore_from_destination` is false"):
            shop.load()
        assert shop.counts() == (100, 100, 100)
    path.write_bytes(kept)
    shop.load()
    assert shop.counts() == (200, 200, 200)


def into_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "x").touch()


def into_loop(path):
    path.unlink(missing_ok=True)
    path.symlink_to(path)


def into_file(path):
    shutil.rmtree(path)
    path.touch()


WRONG_KINDS = [
    *((name, into) for name in ("state.json", "schemas/orders.schema.json") for into in (0, 1)),
    *((".destination", 0), (".sequence", 1), ("LOCK", 0), ("LOCK", 1), ("LOCK.holder", 0)),
    *(("PACKAGE/schema.json", 1), ("PACKAGE/load_package_state.json", 1)),
    *((("PACKAGE/loadsmith_files.json", into)) for into in (0, 1)),
    *((name, 2) for name in ("schemas", "normalize", "load/normalized")),
]


# dlt leaves the list of a folder open in which a link leads to itself.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_no_file_or_no_folder_in_its_place_is_thrown_away(shop, tmp_path):
    shop.load()
    (tmp_path / "p" / ".loadsmith").mkdir(exist_ok=True)
    shop.rows = 200
    with pytest.raises(InterruptedError):
        shop.load(
            cancelled=lambda: any(
                "/normalized/" in name and "/new_jobs/orders." in name for name in shop.files()
            )
        )
    shutil.copytree(tmp_path / "p", tmp_path / "kept")
    shutil.copy(tmp_path / "x.duckdb", tmp_path / "kept.duckdb")
    lock_path = tmp_path / "p" / ".loadsmith" / lock_name("orders")
    wrong = []
    for name, into in WRONG_KINDS:
        shutil.rmtree(tmp_path / "p")
        shutil.copytree(tmp_path / "kept", tmp_path / "p")
        shutil.copy(tmp_path / "kept.duckdb", tmp_path / "x.duckdb")
        path = tmp_path / "p" / "orders" / name
        if name.startswith("LOCK"):
            path = lock_path.with_name(lock_path.name + name.removeprefix("LOCK"))
        elif name.startswith("PACKAGE"):
            (package,) = (tmp_path / "p/orders/load/normalized").iterdir()
            path = package / name.removeprefix("PACKAGE/")
        (into_folder, into_loop, into_file)[into](path)
        try:
            shop.load()
            if (counts := shop.counts()) != (200, 200, 200):
                wrong.append((name, into, counts))
        except Exception as error:  # noqa: BLE001 - all of them are shown
            wrong.append((name, into, repr(error)[:200]))
    gc.collect()
    assert not wrong


@pytest.mark.parametrize("stage", ["extracted", "normalized"])
def test_strays_and_missing_folders_in_a_package_do_no_harm(shop, tmp_path, stage):
    with pytest.raises(InterruptedError):
        shop.load(
            cancelled=lambda: any(
                f"/{stage}/" in name and "/new_jobs/orders." in name for name in shop.files()
            )
        )
    (folder,) = (tmp_path / "p").rglob(f"{stage}/*/new_jobs")
    (folder / "stray.txt").touch()
    (folder / ".nfs000").touch()
    for name in ("started_jobs", "completed_jobs"):
        (folder.parent / name).rmdir()
    shop.load()
    assert not [line for line in shop.lines if "damaged" in line]
    assert [line for line in shop.lines if "stray.txt is no file of a load" in line]
    assert shop.counts() == (100, 100, 100)


def test_a_file_in_the_place_of_the_working_directory_is_named(shop, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "orders").write_text("mine")
    with pytest.raises(LoadsmithError, match=r"p/orders is not a folder.* Move it away"):
        shop.load()
    assert (tmp_path / "p" / "orders").read_text() == "mine"


@pytest.mark.parametrize("damage", ["gone", "without names"])
@pytest.mark.parametrize("stage", ["extracted", "normalized"])
def test_a_package_without_its_list_of_files_is_extracted_again(shop, tmp_path, stage, damage):
    shop.load()
    shop.rows = 300
    with pytest.raises(InterruptedError):
        shop.load(
            cancelled=lambda: any(
                f"/{stage}/" in name and "/new_jobs/orders." in name for name in shop.files()
            )
        )
    (listed,) = (tmp_path / "p").rglob(f"{stage}/*/loadsmith_files.json")
    for path in (listed.parent / "new_jobs").glob("orders.*"):
        path.unlink() if stage == "normalized" else path.write_bytes(b"")
    listed.unlink() if damage == "gone" else listed.write_text("{}")
    shop.load()
    assert shop.counts() == (300, 300, 300)
    assert [line for line in shop.lines if "loadsmith_files.json is damaged" in line]


def test_a_package_of_a_version_that_lists_no_files_is_taken_as_it_is(shop, tmp_path):
    with pytest.raises(InterruptedError):
        shop.load(cancelled=lambda: bool(shop.extracted()))
    (listed,) = (tmp_path / "p").rglob("extracted/*/loadsmith_files.json")
    listed.unlink()
    path = listed.with_name("load_package_state.json")
    state = json.loads(path.read_text())
    del state["loadsmith_is_listed"]
    state["_version_hash"] = generate_state_version_hash(state, exclude_attrs=["load_metrics"])
    path.write_text(json.dumps(state))
    shop.load()
    assert not [line for line in shop.lines if "damaged" in line]
    assert shop.counts() == (100, 100, 100)


def test_each_other_file_of_a_working_directory_may_be_damaged(shop, tmp_path, monkeypatch):
    """It is thrown away or read from the destination, whatever is done to it."""
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    shop.load()
    shop.rows = 200

    def keep(name):
        shutil.copytree(tmp_path / "p", tmp_path / "kept" / name)
        shutil.copy(tmp_path / "x.duckdb", tmp_path / "kept" / f"{name}.duckdb")

    def restore(name):
        shutil.rmtree(tmp_path / "p")
        shutil.copytree(tmp_path / "kept" / name, tmp_path / "p")
        shutil.copy(tmp_path / "kept" / f"{name}.duckdb", tmp_path / "x.duckdb")

    keep("loaded")
    stages = {
        "extracted": lambda: bool(shop.extracted()),
        "normalized": lambda: any(
            "/normalized/" in name and "/new_jobs/orders." in name for name in shop.files()
        ),
    }
    for stage, is_reached in stages.items():
        restore("loaded")
        with pytest.raises(InterruptedError):
            shop.load(cancelled=is_reached)
        keep(stage)
        damages = {"empty": DAMAGES["empty"], "torn": torn, "changed": changed}
        wrong = []
        for number, name in enumerate(shop.files()):
            for damage in list(damages) if stage == "normalized" else [list(damages)[number % 3]]:
                restore(stage)
                damages[damage](tmp_path / name)
                try:
                    shop.load()
                    counts = shop.counts()
                except LoadsmithError as error:
                    counts = repr(error)
                if counts != (200, 200, 200):
                    wrong.append((stage, name, damage, counts))
        assert not wrong


@pytest.mark.parametrize("stage", ["extracted", "normalized"])
def test_what_dlt_had_not_moved_to_its_place_yet_is_no_package(shop, tmp_path, stage):
    # dlt writes each file beside its place first, and a kill leaves it there.
    moments = {"extracted": "/extracted/", "normalized": "/normalized/"}
    with pytest.raises(InterruptedError):
        shop.load(
            cancelled=lambda: any(
                moments[stage] in name and "/new_jobs/orders." in name for name in shop.files()
            )
        )
    base = min((path.parent for path in (tmp_path / "p").rglob("state.json")), key=str)
    folders = [base / name for name in ("", "schemas", "normalize/extracted", "load/normalized")]
    drafts = [folder / "868976787f6d8b2b" for folder in (*folders, base / "load" / "new")]
    for draft in drafts:
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text("{")
    shop.load()
    assert not [line for line in shop.lines if "damaged" in line]
    assert not [draft for draft in drafts if draft.exists()]
    assert shop.counts() == (100, 100, 100)
