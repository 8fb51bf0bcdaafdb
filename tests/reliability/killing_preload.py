"""What the server of child processes imports once: all that a load needs."""

# ruff: noqa: F401 - imported to be in memory

import dagster
import duckdb
import fsspec.implementations.local
import killing
import pandas
import pyarrow.parquet
from dlt.destinations import duckdb as _duckdb
from dlt.destinations import filesystem as _filesystem
from dlt.destinations import postgres as _postgres
