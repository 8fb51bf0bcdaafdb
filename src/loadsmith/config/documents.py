"""Bytes of a YAML or JSON file in, a tree of values with line and column out."""

from loadsmith.config.json_reader import JsonReader
from loadsmith.config.nodes import Document, Lines, Unreadable
from loadsmith.config.yaml_reader import YamlReader
from loadsmith.errors import Problem


def read_document(file: str, raw: bytes) -> tuple[Document | None, list[Problem]]:
    """Read the bytes of `file`, JSON if its name says so.

    Returns:
        The document, unless it cannot be used at all, and what is wrong with it.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = Lines(raw[: error.start].decode("utf-8", "replace")).end()
        message = "this byte is not UTF-8. Save the file as UTF-8."
        return None, [Problem(file, line, column, message)]
    if not text.strip():
        return None, [Problem(file, 1, 1, "the file is empty. Fill it or remove it.")]
    parser = JsonReader(file, text) if file.endswith(".json") else YamlReader(file, text)
    try:
        root = parser.read()
    except Unreadable as stop:
        return None, [*parser.problems, stop.problem]
    if root is None:
        return None, [
            *parser.problems,
            Problem(file, 1, 1, "the file holds only comments. Fill it or remove it."),
        ]
    return Document(file, root), parser.problems
