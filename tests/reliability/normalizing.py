"""A load that is large enough to be caught while processes of its own normalize it."""

import os
from collections.abc import Iterator
from typing import Any

import dlt
from killing import Shop, run_batch

RESOURCES, ROWS = 3, 20_000


def make_large_source() -> Any:
    """Make a source with resources that are all the same."""

    def pages() -> Iterator[list[dict[str, Any]]]:
        for start in range(0, ROWS, 1000):
            yield [{"id": n, "items": [{"sku": n}]} for n in range(start, start + 1000)]

    names = [f"table_{number}" for number in range(RESOURCES)]
    return dlt.source(
        lambda: [dlt.resource(pages, name=name, write_disposition="append") for name in names],
        name="shop",
        section="shop",
    )()


def load_with_workers(shop: Shop, start_method: str | None) -> bool:
    """Load with two processes that normalize.

    Args:
        shop: The load.
        start_method: How Python starts them; None for dlt's choice, which is `spawn` in Dagster.
    """
    os.environ["NORMALIZE__WORKERS"] = "2"
    if start_method:
        os.environ["NORMALIZE__START_METHOD"] = start_method
    return run_batch(shop, 0, source=make_large_source).success
