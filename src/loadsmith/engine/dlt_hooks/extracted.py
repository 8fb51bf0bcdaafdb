"""Extracted records wait for normalize in files, which are compressed quickly, and not too large.

dlt normalizes a file in one process, so that the records of one large resource are shared out by
being in several.
"""

import gzip
from collections.abc import Callable
from functools import partial
from typing import Any

from dlt.common.storages.data_item_storage import DataItemStorage

#: dlt compresses as small as gzip can, which takes six times as long as this for a fifth less.
COMPRESSION_LEVEL = 1

#: Bytes of records in one file, before compression; they take some 3 s to normalize.
FILE_BYTES = 32_000_000

_open_quickly: Any = partial(gzip.open, compresslevel=COMPRESSION_LEVEL)


def extract_quickly(storage: DataItemStorage) -> None:
    """Compress the files of a storage quickly, and end the large ones.

    dlt's settings `data_writer.disable_compression` and `data_writer.file_max_bytes` win.
    """
    prepare_writers(storage, _make_quick)


def _make_quick(writer: Any) -> None:
    if writer.open is gzip.open:
        writer.open = _open_quickly
    if writer.file_max_bytes is None:
        writer.file_max_bytes = FILE_BYTES


def prepare_writers(storage: DataItemStorage, prepare: Callable[[Any], None]) -> None:
    """Let `prepare` change each writer of a storage before the storage writes with it."""
    get_writer = storage._get_writer

    def get_prepared_writer(load_id: str, schema_name: str, table_name: str) -> Any:
        writer = get_writer(load_id, schema_name, table_name)
        prepare(writer)
        return writer

    storage._get_writer = get_prepared_writer  # type: ignore[method-assign]  # dlt has no hook
