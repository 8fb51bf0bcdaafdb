"""A damaged entry of the ledger is derived again where that is possible, or named."""

import json

import dlt
import killing
import pytest
from killing import in_child, load_batches, run_batch

from loadsmith.engine.run import run_load
from loadsmith.errors import LoadsmithError, RunError
from loadsmith.model import LoadDefinition, RunRequest

DAMAGES = {
    "empty": lambda text: "",
    "of another kind": lambda text: "{}",
    "half": lambda text: text[: len(text) // 2],
    "changed": lambda text: text.replace("events", "evfnts"),
    "a list": lambda text: "[1]",
}


def damage_entries(shop, damage, prefix=""):
    """Damage the entries of the ledger; return how many those are."""
    change = DAMAGES[damage]
    if shop.destination == "filesystem":
        folder = shop.folder / "files" / shop.dataset / "_dlt_loadsmith_loads"
        paths = list(folder.glob(f"{prefix}*.json"))
        for path in paths:
            path.write_text(change(path.read_text()))
        return len(paths)
    import duckdb

    with duckdb.connect(str(shop.folder / "shop.duckdb")) as connection:
        table = f'"{shop.dataset}"."_dlt_loadsmith_loads"'
        rows = connection.execute(f"SELECT load_id, payload FROM {table}").fetchall()
        for load_id, payload in rows:
            connection.execute(
                f"UPDATE {table} SET payload = ? WHERE load_id = ?", [change(payload), load_id]
            )
        return len(rows)


@pytest.mark.parametrize("damage", ["empty", "changed"])
@pytest.mark.parametrize("destination", ["filesystem", "duckdb"])
def test_the_entry_of_a_dead_load_is_derived_again(make_shop, destination, damage):
    shop = make_shop(destination)
    log = shop.folder / "log"
    killed = in_child(load_batches, shop, (0,), "package completing", output=log)
    killed.join(300)
    assert killed.exitcode == -9, log.read_text()[-4000:]
    assert damage_entries(shop, damage)
    assert run_batch(shop, 0).success
    assert killing.found(shop) == killing.expected(1)
    assert killing.found_nested(shop) == killing.expected_nested(1)
    assert run_batch(shop, 1).success
    assert killing.found(shop) == killing.expected(2, merges=destination != "filesystem")


def lose_entries(shop):
    """Remove all entries of the ledger, as somebody does who follows the advice of an error."""
    if shop.destination == "filesystem":
        for path in (shop.folder / "files" / shop.dataset / "_dlt_loadsmith_loads").glob("*.json"):
            path.unlink()
        return
    import duckdb

    with duckdb.connect(str(shop.folder / "shop.duckdb")) as connection:
        connection.execute(f'DELETE FROM "{shop.dataset}"."_dlt_loadsmith_loads"')


@pytest.mark.parametrize("destination", ["filesystem", "duckdb"])
def test_states_go_on_where_entries_are_lost(make_shop, destination):
    shop = make_shop(destination)

    def load_up_to(last):
        def events(cursor=dlt.sources.incremental("id", initial_value=0)):
            yield [{"id": number} for number in range(cursor.last_value + 1, last + 1)]

        definition = LoadDefinition(
            name="events",
            source=lambda: dlt.resource(events, name="events"),
            pipeline=shop.make_pipeline,
        )
        with run_load(definition, RunRequest()):
            pass

    for last in (10, 20, 30):
        load_up_to(last)
    lose_entries(shop)
    for last in (40, 50, 60):
        load_up_to(last)
        assert shop.read("events", "id") == [(number,) for number in range(1, last + 1)]


@pytest.mark.parametrize("destination", ["filesystem", "duckdb"])
def test_a_dead_load_whose_entry_is_lost_is_undone(make_shop, destination):
    shop = make_shop(destination)
    log = shop.folder / "log"
    killed = in_child(load_batches, shop, (0,), "package completing", output=log)
    killed.join(300)
    assert killed.exitcode == -9, log.read_text()[-4000:]
    lose_entries(shop)
    assert run_batch(shop, 0).success
    assert killing.found(shop) == killing.expected(1)
    assert killing.found_nested(shop) == killing.expected_nested(1)


def load(shop):
    definition = LoadDefinition(
        name="events",
        source=lambda: dlt.resource([{"id": 1}], name="events"),
        pipeline=shop.make_pipeline,
    )
    with run_load(definition, RunRequest()):
        pass


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("destination", ["filesystem", "duckdb"])
def test_the_entry_of_a_loaded_package_is_named(tmp_path, make_shop, destination, damage):
    shop = make_shop(destination)
    load(shop)
    assert damage_entries(shop, damage) == 1
    with pytest.raises(RunError, match=r"_dlt_loadsmith_loads.* is damaged: it is not what a run"):
        load(shop)
    assert shop.read("events", "id") == [(1,)]


def test_a_damaged_claim_is_named_and_goes_when_its_lease_is_over(make_shop, monkeypatch):
    shop = make_shop("filesystem")
    folder = shop.folder / "files" / shop.dataset / "_dlt_loadsmith_loads"
    load(shop)
    (folder / "abc.lease").touch()
    (folder / "abc.claim").write_text(json.dumps({"token": "abc"}))
    with pytest.raises(RunError, match=r"abc\.claim is damaged"):
        load(shop)
    monkeypatch.setattr("loadsmith.engine.once.claim.LEASE_SECONDS", 0.0)
    load(shop)
    assert not (folder / "abc.claim").exists()


@pytest.mark.parametrize("destination", ["filesystem", "duckdb"])
@pytest.mark.parametrize("table", ["_dlt_loadsmith_states", "_dlt_pipeline_state"])
def test_a_damaged_state_is_named_and_no_cursor_goes_back(make_shop, destination, table):
    shop = make_shop(destination)

    def load_up_to(last):
        def events(cursor=dlt.sources.incremental("id", initial_value=0)):
            yield [{"id": number} for number in range(cursor.last_value + 1, last + 1)]

        definition = LoadDefinition(
            name="events",
            source=lambda: dlt.resource(events, name="events"),
            pipeline=shop.make_pipeline,
        )
        with run_load(definition, RunRequest()):
            pass

    load_up_to(10)
    if destination == "filesystem":
        for path in (shop.folder / "files" / shop.dataset / table).glob("*.json*"):
            path.write_text(path.read_text()[:30])
    else:
        import duckdb

        column = "value" if table.endswith("states") else "state"
        with duckdb.connect(str(shop.folder / "shop.duckdb")) as connection:
            connection.execute(
                f'UPDATE "{shop.dataset}"."{table}" SET {column} = substr({column}, 1, 20)'
            )
    with pytest.raises(LoadsmithError, match=rf"{table} in .* is damaged.* Restore the table"):
        load_up_to(20)
    assert len(shop.read("events", "id")) == 10
