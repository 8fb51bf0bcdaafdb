"""Normalize plain records column by column, ten times faster than dlt and with the same result.

dlt's normalizer visits every value of every record. Here:

* dlt still decides the schema. Records with a new table, column or type go through dlt's
  normalizer; only records that fit the existing schema are normalized by column.
* Names, nesting levels, ids and coercions come from dlt's functions and caches, which are called
  per column instead of per value.
* Arrow gets the values by the same call as in dlt's parquet writer, for the same file.

Plain and other records may alternate in any order.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from loadsmith.engine.dlt_hooks import RecordNormalizer, is_proven, replace_normalizer
from loadsmith.engine.normalizing.columns import ArrowReport, active

_lock = Lock()
_open_blocks = 0


@contextmanager
def arrow_normalizer(enabled: bool = True) -> Iterator[ArrowReport]:
    """Let dlt normalize plain records by column in this thread during the block.

    Put it around `pipeline.run` or `pipeline.normalize`. Tables, columns, types, values and ids are
    those of dlt's normalizer with `loader_file_format="parquet"`. Worker processes need
    `workers_of_run`.

    dlt's normalizer handles as before:

    * destinations and tables whose load files are not parquet;
    * schemas with another normalizer than dlt's relational normalizer, or with exclude filters;
    * root tables whose row ids are hashes (merge strategies `upsert`, `insert-only`, `scd2` and
      `cdc`), or whose records have a `_dlt_id`;
    * pages of records in which a column or a list mixes nested and simple values, a value needs a
      variant column, two names become the same, or a schema contract discards something.

    Args:
        enabled: False lets dlt's normalizer handle all records.

    Yields:
        How many records were normalized in which way; complete after normalize.
    """
    report = ArrowReport()
    _install()
    token = active.set(report if enabled else None)
    try:
        yield report
    finally:
        active.reset(token)
        _uninstall()


def _install() -> None:
    global _open_blocks
    with _lock:
        if _open_blocks == 0:
            replace_normalizer(_normalizer())
        _open_blocks += 1


def _normalizer() -> type[RecordNormalizer]:
    try:
        from loadsmith.engine.normalizing import items
    except ImportError:
        if is_proven("records by column"):
            raise
        # A dlt that lacks a name which normalizing by column needs: its own way is left.
        return RecordNormalizer
    return items.ColumnarItemsNormalizer


def _uninstall() -> None:
    global _open_blocks
    with _lock:
        _open_blocks -= 1
        if _open_blocks == 0:
            replace_normalizer(None)
