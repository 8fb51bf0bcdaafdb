"""Loads of one pipeline name: a partition that one loads again has the rows of the other, too."""

from collections import Counter
from functools import partial
from typing import Any

import dlt
import pytest

from loadsmith.errors import ConfigError, ResolveError
from loadsmith.model import note_defined


def of_key(key: str, prop: Any) -> Any:
    rows = [{"id": f"{key}-{getattr(prop, 'name', prop)}"}]

    @dlt.source(name="shop")
    def shop() -> Any:
        @dlt.resource(name="events", write_disposition="append")
        def events(prop: Any) -> Any:
            yield rows if prop else []

        return events(prop)

    return shop()


@pytest.mark.parametrize("disposition", ["append", "replace"])
def test_a_day_of_another_load_stays(either, disposition):
    either.disposition = disposition
    other = either.changed(name="other", pipeline_name="days", rows={1: [7, 8, 9]})
    either.load(1)
    other.load(1)
    expected = either.expected(1) + other.expected(1)
    assert either.held() == expected
    for warehouse in (either, other, either):
        warehouse.load(1)
        assert either.held() == expected


def test_a_key_of_another_load_stays(either):
    other = either.changed(name="other", pipeline_name="days")
    for warehouse, prop in ((either, "one"), (other, "two"), (either, "one"), (other, "two")):
        warehouse.run(
            partition_key="eu", partition_keys=("eu",), source=partial(of_key, "eu", prop)
        )
    assert sorted(either.ask("SELECT id FROM events")) == [("eu-one",), ("eu-two",)]


def test_a_load_that_was_renamed_replaces_its_days(either):
    either.load(1)
    renamed = either.changed(name="renamed", pipeline_name="days")
    renamed.load(1)
    assert either.held() == either.expected(1)


class Client:
    """An argument that cannot be compared."""

    name = "client"


def test_what_cannot_be_compared_is_refused_unless_both_loads_are_defined_here(either):
    # A process remembers the loads that it has defined.
    first = either.changed(name=f"first_{either.dataset}", pipeline_name="days")
    other = either.changed(name="other", pipeline_name="days")
    ask = {"partition_key": "eu", "partition_keys": ("eu",)}
    first.run(**ask, source=lambda: of_key("eu", Client()))
    with pytest.raises(ResolveError, match=f"loaded already by the load '{first.name}'"):
        other.run(**ask, source=lambda: of_key("eu", Client()))
    note_defined(first.definition)
    other.run(**ask, source=lambda: of_key("eu", Client()))
    assert Counter(either.ask("SELECT id FROM events")) == {("eu-client",): 2}


@pytest.mark.parametrize("request_", [{}, {"partition_key": "eu", "partition_keys": ("eu",)}])
def test_what_two_loads_keep_in_the_state_by_hand_is_not_shared(either, request_):
    def keeping(prop: str) -> Any:
        @dlt.source(name="shop")
        def shop() -> Any:
            @dlt.resource(name="events", write_disposition="append")
            def events(prop: str) -> Any:
                seen = dlt.current.resource_state().setdefault("seen", [])
                yield [{"id": n, "prop": prop} for n in (1, 2) if n not in seen]
                seen.extend([1, 2])

            return events(prop)

        return shop()

    other = either.changed(name="other", pipeline_name="days")
    either.run(**request_, source=partial(keeping, "one"))
    with pytest.raises(ConfigError, match="use one pipeline name"):
        other.run(**request_, source=partial(keeping, "two"))
    either.run(**request_, source=partial(keeping, "one"))
    assert sorted(set(either.ask("SELECT prop FROM events"))) == [("one",)]
