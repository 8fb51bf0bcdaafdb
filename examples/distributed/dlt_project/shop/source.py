"""A made-up shop: orders that are appended, customers that are merged, prices that are replaced."""

import dlt

ORDERS, CUSTOMERS, PRICES, PAGE = 40_000, 2_000, 500, 1_000


@dlt.source(name="shop")
def shop():
    @dlt.resource(write_disposition="append")
    def orders(number=dlt.sources.incremental("id", initial_value=-1)):
        for start in range(number.last_value + 1, ORDERS, PAGE):
            yield [
                {"id": n, "customer": n % CUSTOMERS, "items": [{"sku": n % PRICES}, {"sku": 1}]}
                for n in range(start, min(start + PAGE, ORDERS))
            ]

    @dlt.resource(write_disposition="merge", primary_key="id")
    def customers():
        yield [{"id": n, "name": f"customer {n}"} for n in range(CUSTOMERS)]

    @dlt.resource(write_disposition="replace")
    def prices():
        yield [{"sku": n, "cents": 100 * n} for n in range(PRICES)]

    return orders, customers, prices
