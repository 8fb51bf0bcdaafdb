"""Read times that people, Dagster and other programs write."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime


def read_time(text: str, formats: Iterable[str | None] = ()) -> datetime:
    """Return the time that a text means, with a time zone only if the text names one.

    Args:
        text: The text, in ISO form or in one of `formats`.
        formats: Formats of `strptime` that are tried first.

    Raises:
        ValueError: The text is no time.
    """
    for form in filter(None, formats):
        with suppress(ValueError):
            return datetime.strptime(text, form)
    # Python 3.10 does not read the `Z` that stands for UTC.
    iso = text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text
    return datetime.fromisoformat(iso)
