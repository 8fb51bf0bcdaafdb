"""A package that can never be loaded does not block the runs that follow it."""

from decimal import Decimal

import dlt
import killing
import pyarrow as pa
import pytest

from loadsmith.engine.run import run_load
from loadsmith.errors import RunError
from loadsmith.model import LoadDefinition, RunRequest

#: Rows that cannot be normalized or loaded: where, what, and hints of the resource.
POISONS = {
    "too many columns": ("postgres", {f"c{n}": n for n in range(1700)}, {}),
    "a decimal that does not fit": ("duckdb", {"rate": Decimal("2." + "0" * 30 + "1")}, {}),
    "null where it is forbidden": (
        "duckdb",
        {"note": None},
        {"columns": {"note": {"data_type": "text", "nullable": False}}},
    ),
    "a number out of range": ("mariadb", {"rate": Decimal("2" * 40)}, {}),
    "a number that the driver does not write": ("sqlite", {"big": 2**64 - 1}, {}),
    "an id that is there already": ("postgres", {"_dlt_id": "own"}, {}),
    "a new column that forbids null": (
        "postgres",
        {"code": 1},
        {"columns": {"code": {"nullable": False}}},
    ),
}


@pytest.fixture
def make_load(make_shop, monkeypatch):
    """Make a load whose rows the test sets; its cursor moves with each run."""
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")

    class Load:
        def __init__(self, destination):
            self.shop = make_shop(destination)
            self.rows, self.hints, self.lines = [], {}, []
            self.tables = []

        def run(self):
            def orders(cursor=dlt.sources.incremental("id", initial_value=0)):
                yield [row for row in self.rows if row["id"] > cursor.last_value]
                yield from self.tables

            definition = LoadDefinition(
                name="orders",
                source=lambda: dlt.resource(orders, name="orders", **self.hints),
                pipeline=self.shop.make_pipeline,
            )
            with run_load(definition, RunRequest(warn=self.lines.append)) as result:
                return result

        def ids(self):
            return [row_id for (row_id,) in self.shop.read("orders", "id")]

    return Load


#: What a trigger of the user does to rows without a text, by destination.
TRIGGERS = {
    "postgres": """
        CREATE FUNCTION {0}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
            IF new.note IS NULL THEN RAISE EXCEPTION 'no note'; END IF; RETURN new; END$$;
        CREATE TRIGGER refuse BEFORE INSERT ON {0}.orders
            FOR EACH ROW EXECUTE FUNCTION {0}.refuse()""",
    "mariadb": """
        CREATE TRIGGER {0}.refuse BEFORE INSERT ON {0}.orders FOR EACH ROW
        IF new.note IS NULL THEN SIGNAL SQLSTATE '45000' SET message_text = 'no note'; END IF""",
}


@pytest.mark.parametrize("destination", TRIGGERS)
@pytest.mark.postgres
def test_a_package_that_a_trigger_refuses_is_given_up(make_load, destination):
    load = make_load(destination)
    load.rows = [{"id": 1, "note": "x"}]
    load.run()
    with load.shop.make_pipeline().sql_client() as client:
        client.execute_sql(TRIGGERS[destination].format(load.shop.dataset))
    load.rows.append({"id": 2, "note": None})
    with pytest.raises(RunError, match="the next run gives it up and extracts again"):
        load.run()
    load.rows[1] = {"id": 2, "note": "mended"}
    load.run()
    assert load.ids() == [1, 2]


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.postgres
def test_a_package_that_can_never_be_loaded_is_given_up(make_load, poison):
    destination, values, hints = POISONS[poison]
    load = make_load(destination)
    load.rows = [{"id": 1, "note": "x", "rate": Decimal("1.5"), "_dlt_id": "own"}]
    load.run()
    load.hints = hints
    load.rows.append({"id": 2, **values})
    with pytest.raises(RunError, match="the next run gives it up and extracts again"):
        load.run()
    load.hints = {}
    load.rows[1:] = [{"id": 2, "note": "mended"}, {"id": 3, "note": "y"}]
    assert [table.rows_loaded for table in load.run().tables] == [2]
    (line,) = [line for line in load.lines if "given up" in line]
    assert "with orders (1 rows)" in line
    assert load.ids() == [1, 2, 3]
    load.rows.append({"id": 4})
    load.run()
    assert load.ids() == [1, 2, 3, 4]


def test_a_folder_that_cannot_be_written_to_is_no_reason_to_give_up_a_package(make_load, tmp_path):
    load = make_load("filesystem")
    load.rows = [{"id": 1}]
    load.run()
    folder = tmp_path / "files" / load.shop.dataset / "orders"
    folder.rename(tmp_path / "kept")
    folder.write_text("a file where the folder should be")
    load.rows = [{"id": 2}]
    for _ in range(2):
        with pytest.raises(RunError, match="is kept and loaded by the next run"):
            load.run()
    folder.unlink()
    (tmp_path / "kept").rename(folder)
    load.rows = []
    load.run()
    assert load.ids() == [1, 2]
    assert not [line for line in load.lines if "given up" in line]


def test_a_right_that_is_missing_is_no_reason_to_give_up_a_package(make_load, monkeypatch):
    load = make_load("mariadb")
    load.rows = [{"id": 1}]
    load.run()
    user = f"{load.shop.dataset}@'127.0.0.1'"
    with load.shop.make_pipeline().sql_client() as client:
        client.execute_sql(f"CREATE USER {user}")
        try:
            client.execute_sql(f"GRANT ALL ON {load.shop.dataset}.* TO {user}")
            client.execute_sql(f"REVOKE ALTER ON {load.shop.dataset}.* FROM {user}")
            own = killing.MARIADB.replace("root", load.shop.dataset)
            monkeypatch.setattr(killing, "MARIADB", own)
            load.rows.append({"id": 2, "more": 3})
            with pytest.raises(RunError, match="is kept and loaded by the next run"):
                load.run()
            client.execute_sql(f"GRANT ALTER ON {load.shop.dataset}.* TO {user}")
            load.run()
        finally:
            client.execute_sql(f"DROP USER {user}")
    assert load.ids() == [1, 2]


@pytest.mark.postgres
def test_nul_is_taken_out_of_texts_with_a_warning(make_load):
    load = make_load("postgres")
    load.rows = [{"id": n, "note": f"a\0b{n}" if n < 3 else "c", "other": "d"} for n in range(1, 5)]
    load.run()
    assert load.shop.read("orders", "note") == [("ab1",), ("ab2",), ("c",), ("c",)]
    (line,) = [line for line in load.lines if "NUL" in line]
    assert "'note' (2)" in line
    assert "other" not in line


@pytest.mark.postgres
def test_nul_is_taken_out_of_encoded_texts_of_arrow_with_a_warning(make_load):
    load = make_load("postgres")
    texts = pa.array(["a\0b", "c", None, "a\0b"]).dictionary_encode()
    ids = pa.array([1, 2, 3, 4])
    load.hints = {"columns": {"id": {"data_type": "bigint"}}}
    load.tables = [pa.table({"id": ids, "note": texts})]
    load.run()
    assert [*load.shop.read("orders", "id", "note")] == [(1, "ab"), (2, "c"), (3, None), (4, "ab")]
    (line,) = [line for line in load.lines if "NUL" in line]
    assert "'note' (2)" in line
