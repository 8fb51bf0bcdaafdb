"""Make names that Dagster, dlt and Python accept out of any text.

Assets, states and cursors are known by such names, so a change here renames what users have.
"""

import re
from collections.abc import Collection, Sequence


def op_name(text: str) -> str:
    """Return a name that Dagster accepts for an op: each other character becomes `_`.

    >>> op_name("my-ds..x")
    'my_ds__x'
    """
    return re.sub(r"[^A-Za-z0-9_]", "_", text) or "load"


def load_op_name(name: str) -> str:
    """Return the name of the op of a load that a door names, which no ordinary asset has.

    Dagster calls the op of `@asset orders` by the name of the asset. The component of dagster-dlt
    begins its names in the same way.

    >>> load_op_name("shop/orders")
    'dlt_assets_shop_orders'
    """
    return f"dlt_assets_{op_name(name)}"


def identifier(text: str) -> str:
    """Return `text` with one `_` for each run of characters that are not letters, digits or `_`.

    >>> identifier("my-ds..x")
    'my_ds_x'
    """
    return re.sub(r"\W+", "_", text, flags=re.ASCII)


def lower_identifier(text: str, *, prefix: str, is_ascii: bool = True) -> str:
    """Return a lower-case Python identifier.

    Args:
        text: The text.
        prefix: Stands before a name that begins with a digit, and for a name that is empty.
        is_ascii: Whether letters outside of ASCII become `_`, too.
    """
    name = re.sub(r"\W+", "_", text, flags=re.ASCII if is_ascii else 0).strip("_").lower()
    return name if name and not name[0].isdigit() else f"{prefix}_{name}".rstrip("_")


def words(text: str) -> str:
    """Return the letters and digits of `text`, with one `_` between its words.

    >>> words("__feature/a__b")
    'feature_a_b'
    """
    return re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_")


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return `name`, or the first of `name_2`, `name_3`, ... that is not taken."""
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names with a number added to those that repeat an earlier one.

    A name that occurs once keeps its text, even where it looks like a numbered one.
    """
    taken, seen = set(names), set[str]()
    result = []
    for name in names:
        unique = unique_name(name, taken) if name in seen else name
        seen.add(name)
        taken.add(unique)
        result.append(unique)
    return result
