"""Turn records into columns of values, without knowledge of dlt's schema."""

from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, NamedTuple

Values = Sequence[Any]

# Records that share few keys, such as mappings from ids, would give columns of mostly nothing.
_MAX_KEYS = 1000


class NotPlain(Exception):
    """Records need dlt's normalizer."""


class Missing:
    """The type of `MISSING`, the value of a key that a record lacks and others have.

    It is not None, because dlt distinguishes a missing key from a null.
    """


MISSING = Missing()


class Column(NamedTuple):
    """The values of a column, and their types."""

    values: Values
    types: set[type]


def column_of(values: Values) -> Column:
    """Return the values with their types."""
    return Column(values, set(map(type, values)))


def columns_of(records: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Column]]:
    """Yield the values of each key, in the order of the keys.

    Raises:
        NotPlain: There are too many keys.
    """
    # Keep the order of the records: dlt writes the tables of nested keys in that order.
    shapes = dict.fromkeys(map(tuple, records))
    if len(shapes) == 1:
        [keys] = shapes
        # A list of all values and a slice for each key is twice as fast as `zip`.
        values = list(chain.from_iterable(map(dict.values, records)))
        for place, key in enumerate(keys):
            yield key, column_of(values[place :: len(keys)])
        return
    keys = tuple(dict.fromkeys(chain.from_iterable(shapes)))
    if len(keys) > _MAX_KEYS:
        raise NotPlain
    for key in keys:
        yield key, column_of([record.get(key, MISSING) for record in records])


def items_of(lists: Column) -> tuple[list[Any], list[int]]:
    """Return the items of all lists in a single list, and the length of each list.

    A value that is no list counts as an empty list.
    """
    values: Iterable[Any] = lists.values
    if lists.types != {list}:
        values = [value if type(value) is list else () for value in lists.values]
    return list(chain.from_iterable(values)), list(map(len, values))


def positions_in(lengths: Sequence[int]) -> list[int]:
    """Return the position of each item in its list."""
    return list(chain.from_iterable(map(range, lengths)))


def repeated(values: Values, times: Sequence[int]) -> list[Any]:
    """Return each value as often as its list has items."""
    return list(chain.from_iterable(map(repeat, values, times)))


@dataclass
class ArrowReport:
    """How many records of root tables were normalized in which way."""

    by_column: int = 0
    by_record: int = 0


active: ContextVar[ArrowReport | None] = ContextVar("loadsmith_arrow_normalizer", default=None)
"""The report of the `arrow_normalizer` block that this thread is in, or None."""
