"""Resources that load into one table: what a run of some of them replaces, and what it reports."""

from itertools import product

import pytest

from loadsmith.errors import ResolveError
from loadsmith.model import RunOptions

BOTH, EVENTS, TWINS = ("events", "twins"), ("events",), ("twins",)


@pytest.mark.parametrize(
    "runs", [*product((BOTH, EVENTS, TWINS), repeat=2), (EVENTS, TWINS, BOTH, BOTH)]
)
def test_rows_of_each_resource_are_there_once_or_the_run_is_refused(either, runs):
    either.twin = True
    either.rows = {1: [1, 2]}
    loaded: set[str] = set()
    for selected in runs:
        # A package holds the rows of both, and is replaced as a whole.
        if loaded and runs[0] == BOTH and selected != BOTH:
            with pytest.raises(ResolveError, match="in the same run"):
                either.load(1, resources=selected)
            continue
        result = either.load(1, resources=selected)
        loaded.update(selected)
        assert result.rows_loaded == len(selected) * 2 * (1 + 2 + 2)
        for name in selected:
            (table,) = [
                one for one in result.tables if (one.name, one.resource) == ("events", name)
            ]
            assert table.rows_loaded == len(selected) * 2
    assert either.held() == {f"1-{number}": len(loaded) for number in (1, 2)}


@pytest.mark.parametrize("runs", list(product((BOTH, EVENTS, TWINS), repeat=2)))
def test_a_table_that_a_run_names_is_shared_as_well(either, runs):
    either.rows = {1: [1, 2]}
    either.twin = True
    either.own_tables = True
    for selected in runs:
        arguments = {"resources": selected, "params": {"table_name": "events"}}
        if runs[0] == BOTH and selected != BOTH:
            with pytest.raises(ResolveError, match="in the same run"):
                either.load(1, **arguments)
        else:
            either.load(1, **arguments)
    loaded = {name for selected in runs for name in selected}
    assert either.held() == {f"1-{number}": len(loaded) for number in (1, 2)}


def test_a_window_of_one_resource_is_not_removed_from_the_table_of_two(either):
    either.twin = True
    either.options = RunOptions(reload="window")
    either.load(1)
    with pytest.raises(ResolveError, match="Load both in the same run"):
        either.load(1, resources=EVENTS)
    either.load(1)
    assert either.held() == {f"1-{number}": 2 for number in (1, 2)}
