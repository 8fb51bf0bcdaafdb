"""Bytes of a YAML or JSON file in, a tree of values with line and column out."""

from loadsmith.documents.json_reader import JsonReader
from loadsmith.documents.nodes import Document, Lines, Unreadable
from loadsmith.documents.yaml_reader import TextDates, YamlReader
from loadsmith.errors import Problem


def read_document(file: str, raw: bytes) -> tuple[Document | None, list[Problem]]:
    """Read the bytes of `file`, JSON if its name says so.

    Returns:
        The document, unless it cannot be used at all, and what is wrong with it.
    """
    text, problems = decode(file, raw)
    if text is None:
        return None, problems
    parser = JsonReader(file, text) if file.endswith(".json") else YamlReader(file, text)
    try:
        root = parser.read()
    except Unreadable as stop:
        return None, [*parser.problems, stop.problem]
    if root is None:
        return None, [*parser.problems, _only_comments(file)]
    return Document(file, root), parser.problems


def read_definitions(file: str, raw: bytes) -> tuple[list[Document] | None, list[Problem]]:
    """Read the bytes of a `defs.yaml` as Dagster does: documents of one component each.

    Returns:
        The documents, unless the file cannot be used at all, and what is wrong with it.
    """
    text, problems = decode(file, raw)
    if text is None:
        return None, problems
    parser = YamlReader(file, text, loader=TextDates)
    try:
        roots = parser.read_all()
    except Unreadable as stop:
        return None, [*parser.problems, stop.problem]
    if not roots:
        return None, [*parser.problems, _only_comments(file)]
    return [Document(file, root) for root in roots], parser.problems


def decode(file: str, raw: bytes) -> tuple[str | None, list[Problem]]:
    """Return the text of a file, or None and why there is none."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = Lines(raw[: error.start].decode("utf-8", "replace")).end()
        message = "this byte is not UTF-8. Save the file as UTF-8."
        return None, [Problem(file, line, column, message)]
    if not text.strip():
        return None, [Problem(file, 1, 1, "the file is empty. Fill it or remove it.")]
    return text, []


def _only_comments(file: str) -> Problem:
    return Problem(file, 1, 1, "the file holds only comments. Fill it or remove it.")
