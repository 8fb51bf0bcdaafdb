"""Rows that dlt extracted in, the same tables written column by column out.

dlt's normalizer walks through every record, and then every value of it. For records that are plain
the same work can be done column by column, ten times faster, and it is exact by construction:

* dlt decides what a table looks like. A record that brings a new table, column or type goes
  through dlt's own normalizer; only records that fit the schema as it is are taken here.
* Names, nesting levels, ids and coercions come from dlt's own functions and caches, called once
  per column instead of once per value.
* The values are handed to Arrow by the call that dlt's parquet writer makes, into the same file.

So plain and other records may alternate at will; dlt's own way is only slower.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from loadsmith.engine.normalizing.columns import ArrowReport, active

_lock = Lock()
_open_blocks = 0


@contextmanager
def arrow_normalizer(enabled: bool = True) -> Iterator[ArrowReport]:
    """Let dlt normalize plain records by column while the block runs, in this thread.

    Processes that normalize for it have to be told by `workers_of_run`.

    Put it around `pipeline.run` or `pipeline.normalize`. Tables, columns, types, values and ids are
    those of dlt's own normalizer with `loader_file_format="parquet"`.

    Limits: these take dlt's own way, as if the block were not there.

    * destinations and tables whose load files are not parquet;
    * schemas with another normalizer than dlt's relational one, or with exclude filters;
    * root tables whose row ids are hashes (merge strategies `upsert`, `insert-only`, `scd2` and
      `cdc`), or where a record brings its own `_dlt_id`;
    * pages of records in which a column or a list mixes nested and simple values, a value goes to a
      variant column, two names become one, or a schema contract discards something.

    Args:
        enabled: False makes the block do nothing, so that callers need no branch.

    Yields:
        The numbers of records that went either way, complete when normalize is.
    """
    report = ArrowReport()
    if not enabled:
        yield report
        return
    _install()
    token = active.set(report)
    try:
        yield report
    finally:
        active.reset(token)
        _uninstall()


def _install() -> None:
    global _open_blocks
    from loadsmith.engine.normalizing import items as _arrow_items

    with _lock:
        _open_blocks += 1
        if _open_blocks == 1:
            _arrow_items.replace_items_normalizer()


def _uninstall() -> None:
    global _open_blocks
    from loadsmith.engine.normalizing import items as _arrow_items

    with _lock:
        _open_blocks -= 1
        if _open_blocks == 0:
            _arrow_items.restore_items_normalizer()
