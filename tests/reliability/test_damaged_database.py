"""A DuckDB file that cannot be opened is named at once; nobody waits for a process."""

import dlt
import pytest

from loadsmith.engine.run import run_load
from loadsmith.errors import LoadsmithError
from loadsmith.model import LoadDefinition, RunRequest


def load(folder, database, lines):
    definition = LoadDefinition(
        name="rows",
        source=lambda: dlt.resource([{"id": 1}], name="rows"),
        pipeline=lambda: dlt.pipeline(
            "rows",
            destination=dlt.destinations.duckdb(str(database)),
            dataset_name="raw",
            pipelines_dir=str(folder / "p"),
        ),
    )
    with run_load(definition, RunRequest(log=lines.append, warn=lines.append)):
        pass


def changed(data: bytes) -> bytes:
    return data[:4112] + bytes([data[4112] ^ 0xFF]) + data[4113:]


@pytest.mark.parametrize("name", ["x.duckdb", "block.duckdb", "Conflicting lock.duckdb"])
@pytest.mark.parametrize("damage", [changed, lambda data: data[:5000], lambda data: data[:100]])
def test_a_damaged_database_is_named_and_not_waited_for(tmp_path, name, damage):
    database, lines = tmp_path / name, []
    load(tmp_path, database, lines)
    database.write_bytes(damage(database.read_bytes()))
    with pytest.raises(LoadsmithError) as raised:
        load(tmp_path, database, lines)
    assert name in str(raised.value)
    assert "restore it from a backup" in str(raised.value)
    assert not [line for line in lines if "waiting" in line]
