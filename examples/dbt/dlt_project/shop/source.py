"""Customers and orders of a made-up shop; put the calls of your own API in their place."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import dlt

_FIRST_DAY = datetime(2024, 1, 1, tzinfo=timezone.utc)


@dlt.resource(primary_key="id")
def customers(count: int = 20) -> Iterator[list[dict[str, Any]]]:
    """Everybody who ever ordered."""
    yield [{"id": number, "name": f"Customer {number}"} for number in range(1, count + 1)]


@dlt.resource(primary_key="id")
def orders(count: int = 100) -> Iterator[dict[str, Any]]:
    """Orders; their items are a list, which becomes a nested table."""
    for number in range(1, count + 1):
        yield {
            "id": number,
            "customer_id": number % 20 + 1,
            "ordered_at": _FIRST_DAY + timedelta(hours=number),
            "items": [
                {"product": f"Product {number % 7 + item}", "quantity": item}
                for item in range(1, number % 3 + 2)
            ],
        }


@dlt.source
def shop(order_count: int = 100) -> list[Any]:
    """Everything that the shop has. Arguments are the `source_params` of the YAML."""
    return [customers(), orders(order_count)]
