"""One module for each row of the table; `bench.case.NAMES` lists them."""
