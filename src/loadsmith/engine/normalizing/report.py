"""How the records of this thread are normalized: by column where a block says so, and how many."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class ArrowReport:
    """How many records of root tables took which way."""

    by_column: int = 0
    by_record: int = 0


active: ContextVar[ArrowReport | None] = ContextVar("loadsmith_arrow_normalizer", default=None)
"""The report of the `arrow_normalizer` block that this thread is in, or None."""
