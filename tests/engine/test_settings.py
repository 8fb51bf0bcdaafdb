"""The choices that are made for speed: what a run does by itself, and that dlt's settings win."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from pyarrow import parquet

from loadsmith.engine import settings
from loadsmith.engine.dlt_hooks import extracted as _extracted, pipeline_of
from loadsmith.engine.normalizing import (
    arrow_normalizer,
    normalize_workers,
    workers_of_run,
    workers_wanted,
)
from loadsmith.engine.run import run_load
from loadsmith.model import (
    NORMALIZERS,
    DestinationReference,
    LoadDefinition,
    LoadResult,
    PipelineSettings,
    RunOptions,
    RunRequest,
    SourceReference,
)

# What gzip writes into the ninth byte of a file: the strongest compression, or the quickest.
STRONGEST, QUICKEST = 2, 4


def source_of(*rows: int) -> Any:
    @dlt.source(name="many")
    def source() -> Any:
        for number, count in enumerate(rows):
            records = [{"id": row, "tags": [row]} for row in range(count)]
            yield dlt.resource(records, name=f"table_{number}")

    return source()


def load_of(folder: Path, *rows: int, **options: Any) -> LoadDefinition:
    return LoadDefinition(
        name="many",
        source=lambda: source_of(*rows),
        destination=DestinationReference(
            name="duckdb", params={"database": str(folder / "many.duckdb")}
        ),
        pipeline=PipelineSettings(
            pipeline_name="many", dataset_name="raw", pipelines_dir=str(folder / "pipelines")
        ),
        options=RunOptions(**options),
    )


def run(definition: LoadDefinition) -> LoadResult:
    with run_load(definition, RunRequest(run_id="run")) as result:
        return result


def extracted(folder: Path, *rows: int) -> Any:
    pipeline = pipeline_of(
        "many",
        destination=dlt.destinations.duckdb(str(folder / "many.duckdb")),
        pipelines_dir=str(folder / "pipelines"),
        dataset_name=None,
    )
    pipeline.extract(source_of(*rows))
    return pipeline


def extracted_files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("table_*.typed-jsonl*")]


def test_extracted_files_are_compressed_quickly_and_those_of_other_pipelines_as_dlt_does_it(
    tmp_path: Path,
) -> None:
    extracted(tmp_path / "inside", 9)
    other = dlt.pipeline("other", pipelines_dir=str(tmp_path / "outside"))
    other.extract(source_of(9))

    [inside] = extracted_files(tmp_path / "inside")
    [outside] = extracted_files(tmp_path / "outside")
    assert (inside[8], outside[8]) == (QUICKEST, STRONGEST)


def test_a_run_compresses_what_it_extracts_quickly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []

    def note(pipeline: Any, **options: Any) -> int:
        seen.extend(extracted_files(Path(pipeline.working_dir)))
        return normalize_workers(pipeline, **options)

    monkeypatch.setattr("loadsmith.engine.once.packages.normalize_workers", note)
    run(load_of(tmp_path, 9))

    assert [file[8] for file in seen] == [QUICKEST]


def test_files_that_dlt_is_told_not_to_compress_stay_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_WRITER__DISABLE_COMPRESSION", "true")
    extracted(tmp_path, 9)

    [file] = extracted_files(tmp_path)
    assert file.startswith(b"[")


def test_processes_are_started_for_what_can_be_shared_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_wanted, "PARALLEL_NORMALIZE_BYTES", 2_000)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    one = extracted(tmp_path / "one", 5_000)
    uneven = extracted(tmp_path / "uneven", 5_000, 1)
    even = extracted(tmp_path / "even", 5_000, 5_000)

    def workers(by_column: bool) -> list[int]:
        return [normalize_workers(each, by_column=by_column) for each in (one, uneven, even)]

    assert workers(by_column=False) == [1, 1, 3]
    monkeypatch.setattr(workers_wanted, "PARALLEL_COLUMN_BYTES", 200_000)
    assert workers(by_column=True) == [1, 1, 1]


def test_a_large_resource_is_extracted_into_files_that_processes_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_wanted, "PARALLEL_NORMALIZE_BYTES", 2_000)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(_extracted, "FILE_BYTES", 100_000)
    large = extracted(tmp_path, 20_000)

    assert len(extracted_files(tmp_path)) == 4
    assert normalize_workers(large, by_column=False) > 1


def test_files_are_as_large_as_dlt_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_extracted, "FILE_BYTES", 100_000)
    monkeypatch.setenv("DATA_WRITER__FILE_MAX_BYTES", "100000000")
    extracted(tmp_path, 20_000)

    assert len(extracted_files(tmp_path)) == 1


CONFIG = """
[normalize]
workers = 2
loader_file_format = "insert_values"

[data_writer]
file_max_bytes = 100
disable_compression = true
"""

# Prints what a run did in a folder, and what it would say that it does there.
RUN_IN_FOLDER = """
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from loadsmith.engine.settings import effective_settings
from test_settings import load_of, run

pools = []
init = ProcessPoolExecutor.__init__


def noted(self, max_workers=None, **kwargs):
    pools.append(max_workers)
    init(self, max_workers=max_workers, **kwargs)


if __name__ == "__main__":
    ProcessPoolExecutor.__init__ = noted
    load = load_of(Path.cwd(), 9)
    formats = {job["file_format"] for job in run(load).jobs if job["table_name"] == "table_0"}
    chosen = {one.name: one.value for one in effective_settings(load) if one.origin == "you"}
    print(json.dumps({"pools": pools, "formats": sorted(formats), "chosen": chosen}))
"""


def test_the_config_toml_of_a_folder_wins(tmp_path: Path) -> None:
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text(CONFIG)
    script = tmp_path / "run_in_folder.py"
    script.write_text(RUN_IN_FOLDER)

    child = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert child.returncode == 0, child.stderr
    said = json.loads(child.stdout.splitlines()[-1])
    assert said == {
        "pools": [2],
        "formats": ["insert_values"],
        "chosen": {
            "loader_file_format": "insert_values",
            "normalize.workers": "2",
            "data_writer.disable_compression": "True",
            "data_writer.file_max_bytes": "100",
        },
    }


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_a_load_that_several_processes_normalize_has_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalizer: str
) -> None:
    for name in ("PARALLEL_NORMALIZE_BYTES", "PARALLEL_COLUMN_BYTES"):
        monkeypatch.setattr(workers_wanted, name, 1)
    monkeypatch.setattr(_extracted, "FILE_BYTES", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    result = run(load_of(tmp_path, 12_000, 200, 300, normalizer=normalizer))

    counts = {"table_0": 12_000, "table_1": 200, "table_2": 300}
    with duckdb.connect(str(tmp_path / "many.duckdb")) as connection:
        for table, rows in counts.items():
            for name in (table, f"{table}__tags"):
                found = connection.sql(f"select count(*), count(distinct _dlt_id) from raw.{name}")
                assert found.fetchall() == [(rows, rows)]
    assert counts.items() <= {table.name: table.rows_loaded for table in result.tables}.items()


@pytest.mark.parametrize(("by_column", "rows_in_group"), [(False, 5_000), (True, 6_000)])
def test_processes_normalize_by_column_where_their_run_does(
    tmp_path: Path, by_column: bool, rows_in_group: int
) -> None:
    pipeline = extracted(tmp_path, 1, 1)
    pipeline.normalize()
    page = [{"id": row, "tags": [row]} for row in range(6_000)]
    pages = [dlt.resource([page], name=name) for name in ("table_0", "table_1")]
    pipeline.extract(pages, loader_file_format="parquet")

    with arrow_normalizer(by_column), workers_of_run(tmp_path / "workers", by_column=by_column):
        pipeline.normalize(workers=3)

    # dlt writes records in groups as large as its buffer, and by column a page is written at once.
    newest = max(pipeline.list_normalized_load_packages())
    files = Path(pipeline.working_dir, "load", "normalized", newest).rglob("table_?.*.parquet")
    sizes = [parquet.read_metadata(file).row_group(0).num_rows for file in files]
    assert sizes == [rows_in_group, rows_in_group]


_BY_TYPES = (
    "adbc if all its types are compared, its cursor's among them, else sqlalchemy",
    "loadsmith",
)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({}, {"backend": _BY_TYPES, "chunk_size": ("122880 where it is adbc", "loadsmith")}),
        ({"chunk_size": 9}, {"backend": _BY_TYPES, "chunk_size": ("9", "you")}),
        (
            {"backend": "sqlalchemy"},
            {"backend": ("sqlalchemy", "you"), "chunk_size": ("dlt's default", "dlt")},
        ),
    ],
)
def test_it_is_listed_how_a_database_is_read(
    tmp_path: Path, params: dict[str, Any], told: dict[str, tuple[str, str]]
) -> None:
    address = "postgresql://nobody:secret@127.0.0.1:1/nowhere"
    source = SourceReference(module="sql_database", params={"credentials": address, **params})
    load = replace(load_of(tmp_path, 1), source=source)

    found = {one.name: (one.value, one.origin) for one in settings.effective_settings(load)}

    assert {name: found[f"sql_database.{name}"] for name in told} == told
