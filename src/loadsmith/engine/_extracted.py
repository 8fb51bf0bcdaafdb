"""Extracted records wait for normalize in compressed files; here they are compressed quickly."""

import contextlib
import gzip
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

from dlt.common.data_writers.buffered import BufferedDataWriter

#: dlt compresses as small as gzip can, which takes six times as long as this for a fifth less.
COMPRESSION_LEVEL = 1

_ACTIVE: ContextVar[bool] = ContextVar("loadsmith_extracted_quickly", default=False)

_open_quickly: Any = partial(gzip.open, compresslevel=COMPRESSION_LEVEL)
_open_writer = BufferedDataWriter._open_writer


@contextlib.contextmanager
def compressed_quickly() -> Iterator[None]:
    """Compress the files that this thread opens in the block as quickly as gzip can.

    Put it around `pipeline.extract`. dlt's setting `data_writer.disable_compression` wins.
    """
    token = _ACTIVE.set(True)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def _open_compressing_writer(self: Any) -> None:
    if self.open is gzip.open and _ACTIVE.get():
        self.open = _open_quickly
    _open_writer(self)


# dlt has a setting for whether files are compressed, and none for how.
BufferedDataWriter._open_writer = _open_compressing_writer  # type: ignore[method-assign]  # dlt has no hook
