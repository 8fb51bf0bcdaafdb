"""Turn extracted files into load files, column by column if the result is the same as dlt's.

The room also decides how many processes share the work.
"""

from loadsmith.engine.normalizing.by_column import arrow_normalizer as arrow_normalizer
from loadsmith.engine.normalizing.parquet import ROW_GROUP as ROW_GROUP
from loadsmith.engine.normalizing.workers import (
    wait_for_workers as wait_for_workers,
    workers_of_run as workers_of_run,
)
from loadsmith.engine.normalizing.workers_wanted import (
    bytes_worth_sharing as bytes_worth_sharing,
    normalize_workers as normalize_workers,
)
