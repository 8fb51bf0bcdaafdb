"""Read YAML, JSON and TOML so that every value knows its file, line and column."""

from loadsmith.documents.nodes import Document as Document, Node as Node, shorten as shorten
from loadsmith.documents.read import (
    NotAFileError as NotAFileError,
    decode as decode,
    read_definitions as read_definitions,
    read_document as read_document,
    read_text as read_text,
    read_whole as read_whole,
    refuse_no_file as refuse_no_file,
    toml_problem as toml_problem,
)
