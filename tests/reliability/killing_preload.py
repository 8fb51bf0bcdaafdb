"""What the server of child processes imports once: all that a load needs."""

# ruff: noqa: F401 - imported to be in memory

import dagster
import duckdb
import fsspec.implementations.local
import killing
import pandas
import pyarrow.parquet
from dlt.destinations import duckdb as _duckdb, filesystem as _filesystem, postgres as _postgres
