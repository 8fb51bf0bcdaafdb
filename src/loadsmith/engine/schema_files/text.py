"""Read the text of a schema file as plain data, and say where in it a key stands."""

from collections.abc import Sequence
from typing import Any

from loadsmith.documents import read_text
from loadsmith.errors import ResolveError

#: Values of a file, those repeated by aliases counted each time; a thousand tables have 200,000.
MAX_VALUES = 2_000_000

_AGAIN = "Write it again with `loadsmith schema`."


def parse_schema(text: str, shown: str, *, remedy: str = _AGAIN) -> dict[str, Any]:
    """Return what the text of a schema file says, YAML or JSON.

    Args:
        text: The text.
        shown: The file in messages; JSON if it ends so.
        remedy: What to do about a file that is not right.

    Raises:
        ResolveError: It is not a mapping, has a key twice, or is not YAML; line and column are
            named.
    """
    if not text.strip():
        raise ResolveError(f"{shown}:1:1: the file is empty. {remedy}")
    document, problems = read_text(shown, text, max_values=MAX_VALUES)
    if problems or document is None:
        raise ResolveError(f"{problems[0]} {remedy}")
    if not isinstance(document.root.value, dict):
        raise ResolveError(f"{shown}:1:1: this is not a schema that dlt exported. {remedy}")
    value: dict[str, Any] = document.root.plain()
    return value


def decode(raw: bytes, shown: str, *, remedy: str = _AGAIN) -> str:
    """Return the text of a schema file.

    Raises:
        ResolveError: The file is not UTF-8. Line and column are named.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise ResolveError(f"{shown}:{line}:{column}: this byte is not UTF-8. {remedy}") from error


def place_in(text: str, shown: str, path: Sequence[str]) -> tuple[int, int]:
    """Return line and column, from 1, of the key at the end of a path, or of the last known one.

    Args:
        text: A text that `parse_schema` reads.
        shown: The file; JSON if it ends so.
        path: Names of keys, the outermost first.
    """
    document, _ = read_text(shown, text, max_values=MAX_VALUES)
    place = (1, 1)
    node = document.root if document else None
    for name in path:
        if node is None or name not in (node.keys or {}):
            break
        place = (node.keys or {})[name]
        node = node.value[name]
    return place
