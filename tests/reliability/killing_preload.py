"""What the server of child processes imports once: all that a load needs."""

import dagster  # noqa: F401
import duckdb  # noqa: F401
import fsspec.implementations.local  # noqa: F401
import killing  # noqa: F401
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
from dlt.destinations import duckdb as _duckdb  # noqa: F401
from dlt.destinations import filesystem as _filesystem  # noqa: F401
from dlt.destinations import postgres as _postgres  # noqa: F401
