"""Sources that keep in dlt's state what they have read, and partitions that are loaded again."""

from typing import Any

import dlt
import pytest
from days import FIRST, day, window

from loadsmith.errors import ResolveError
from loadsmith.model import RunOptions

KEYS = {"partition_key": "eu", "partition_keys": ("eu",)}
DAY = {
    "partition_key": "2024-01-01",
    "partition_keys": ("2024-01-01",),
    "window": window(1, 1),
    "arguments_hold_window": True,
}


def remembering(rows: list[int], *, place: str = "resource", fed: bool = False) -> Any:
    """Return what makes a source that yields only rows that it has not yielded before."""

    def read() -> Any:
        current = dlt.current
        state = current.resource_state() if place == "resource" else current.source_state()
        known = set(state.get("read", ()))
        state["read"] = sorted(known.union(rows))
        yield [{"n": number} for number in rows if number not in known]

    @dlt.source(name="shop")
    def shop() -> Any:
        root = dlt.resource(read, name="orders", write_disposition="append")
        other = dlt.resource([{"n": 0}], name="other", write_disposition="append")
        if not fed:
            return root, other
        page = dlt.resource(read, name="page", selected=False)
        fed_by_page = dlt.transformer(
            lambda item: item, data_from=page, name="orders", write_disposition="append"
        )
        return fed_by_page, other

    return shop


@pytest.mark.parametrize("request_", [KEYS, DAY], ids=["key", "day"])
@pytest.mark.parametrize("place", ["resource", "source"])
@pytest.mark.parametrize("fed", [False, True], ids=["alone", "fed"])
def test_a_partition_that_is_loaded_again_has_all_of_its_rows(either, request_, place, fed):
    either.options = RunOptions(partitioned=True)
    for rows in ([1, 2], [1, 2, 3], [1, 2, 3]):
        either.run(**request_, source=remembering(rows, place=place, fed=fed))
        found = sorted(n for (n,) in either.ask("SELECT n FROM orders"))
        assert found == rows
    told = [line for line in either.warned if "keeps read in its state" in line]
    assert len(told) == 2


def test_a_partition_that_is_not_replaced_goes_on_from_what_was_read(either):
    either.options = RunOptions(reload="append")
    for rows in ([1, 2], [1, 2, 3]):
        either.run(**KEYS, source=remembering(rows))
    assert sorted(either.ask("SELECT n FROM orders")) == [(1,), (2,), (3,)]


def test_a_state_of_resources_of_which_one_is_there_is_not_forgotten(either):
    either.options = RunOptions(partitioned=True)
    source = remembering([1, 2], place="source")
    either.run(**KEYS, source=source, resources=("orders",))
    with pytest.raises(ResolveError, match="'other' uses that state, too"):
        either.run(**KEYS, source=source)
    assert sorted(either.ask("SELECT n FROM orders")) == [(1,), (2,)]


@pytest.mark.parametrize("disposition", ["append", "replace"])
@pytest.mark.parametrize("request_", [KEYS, {**DAY, "arguments_hold_window": False}])
def test_a_cursor_that_refuses_schedulers_goes_on_by_itself(either, request_, disposition):
    def source_of(rows: list[int]) -> Any:
        @dlt.source(name="shop")
        def shop() -> Any:
            @dlt.resource(write_disposition=disposition)
            def orders(
                at: Any = dlt.sources.incremental(
                    "at", initial_value=FIRST, allow_external_schedulers=False
                ),
            ) -> Any:
                yield [{"n": number, "at": day(number)} for number in rows]

            return orders

        return shop

    either.run(**request_, source=source_of([1, 2]))
    either.run(**request_, source=source_of([1, 2, 3]))
    assert sorted(either.ask("SELECT n FROM orders")) == [(1,), (2,), (3,)]
