"""Each test has its own copy of an example, its own dlt folder and its own GitHub."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import duckdb
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def copy_example(tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        # What a person who tried the example left behind stays there.
        ignore = shutil.ignore_patterns("data", "secrets.toml", "__pycache__")
        return Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignore))

    return copy


@pytest.fixture(scope="session")
def github_server() -> Iterator[ModuleType]:
    """The module `examples/github/server.py`."""
    spec = importlib.util.spec_from_file_location(
        "github_example_server", EXAMPLES / "github" / "server.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def import_source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], ModuleType]]:
    """Import a module of an example's `dlt_project` as dlt alone would."""
    before = set(sys.modules)

    def load(example: str, module: str) -> ModuleType:
        monkeypatch.syspath_prepend(EXAMPLES / example / "dlt_project")
        return importlib.import_module(module)

    yield load
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("countries", "flights", "github"):
            del sys.modules[name]


@pytest.fixture
def materialize() -> Callable[..., dg.ExecuteInProcessResult]:
    """Materialize assets of a project in this process."""

    def run(
        defs: dg.Definitions,
        *keys: str,
        instance: dg.DagsterInstance,
        partition_key: str | None = None,
    ) -> dg.ExecuteInProcessResult:
        selection = [dg.AssetKey(key.split("/")) for key in keys] or None
        job = defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            asset_selection=selection, instance=instance, partition_key=partition_key
        )

    return run


@pytest.fixture
def count_rows() -> Callable[[Path, str], dict[str, int]]:
    """Count the rows of all tables of one schema of a DuckDB file, dlt's own left out."""

    def count(database: Path, schema: str) -> dict[str, int]:
        with duckdb.connect(str(database), read_only=True) as connection:
            names = connection.execute(
                "SELECT table_name FROM information_schema.tables "
                "WHERE table_schema = ? AND NOT starts_with(table_name, '_dlt')",
                [schema],
            ).fetchall()
            return {
                name: _first(connection.execute(f'SELECT count(*) FROM "{schema}"."{name}"'))
                for (name,) in names
            }

    return count


def _first(result: Any) -> int:
    return int(result.fetchone()[0])
