"""Extracted records wait for normalize in files, which are compressed quickly, and not too large.

dlt normalizes a file in one process, so that the records of one large resource are shared out by
being in several.
"""

import contextlib
import gzip
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

from dlt.common.data_writers.buffered import BufferedDataWriter

#: dlt compresses as small as gzip can, which takes six times as long as this for a fifth less.
COMPRESSION_LEVEL = 1

#: Bytes of records in one file, before compression; they take some 3 s to normalize.
FILE_BYTES = 32_000_000

_ACTIVE: ContextVar[bool] = ContextVar("loadsmith_extracted_quickly", default=False)

#: What dlt calls the files that records are extracted into.
_RECORDS = "typed-jsonl"

_open_quickly: Any = partial(gzip.open, compresslevel=COMPRESSION_LEVEL)
_open_writer = BufferedDataWriter._open_writer


@contextlib.contextmanager
def extracted_for_speed() -> Iterator[None]:
    """Compress the files that this thread opens in the block quickly, and end the large ones.

    Put it around `pipeline.extract`. dlt's settings `data_writer.disable_compression` and
    `data_writer.file_max_bytes` win.
    """
    token = _ACTIVE.set(True)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def _open_fast_writer(self: Any) -> None:
    if _ACTIVE.get() and self.writer_spec.file_format == _RECORDS:
        if self.open is gzip.open:
            self.open = _open_quickly
        if self.file_max_bytes is None:
            self.file_max_bytes = FILE_BYTES
    _open_writer(self)


# dlt has a setting for whether files are compressed, and none for how.
BufferedDataWriter._open_writer = _open_fast_writer  # type: ignore[method-assign]  # dlt has no hook
