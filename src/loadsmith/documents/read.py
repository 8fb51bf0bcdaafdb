"""Read YAML, JSON and TOML, and say at which line and column something stands."""

import errno
import re
import stat
from pathlib import Path

from loadsmith.documents.json_reader import JsonReader
from loadsmith.documents.nodes import MAX_VALUES, Document, Lines, Unreadable
from loadsmith.documents.yaml_reader import TextDates, YamlReader
from loadsmith.errors import Problem


class NotAFileError(OSError):
    """Something that is no file stands where a file should; to read it may never end."""


#: What may stand in the place of a file, by its kind.
_KINDS = {
    stat.S_IFIFO: "a FIFO (a named pipe)",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def read_whole(path: str | Path) -> bytes:
    """Return the bytes of a file that a project names.

    Raises:
        NotAFileError: It is something else, such as a FIFO, which would be waited for without end.
        OSError: It cannot be read.
    """
    refuse_no_file(path)
    return Path(path).read_bytes()


def refuse_no_file(path: str | Path) -> None:
    """Raise if something that is no file stands where a file should.

    Raises:
        NotAFileError: It does.
        OSError: There is nothing.
    """
    kind = stat.S_IFMT(Path(path).stat().st_mode)
    if kind != stat.S_IFREG:
        what = f"it is {_KINDS.get(kind, 'something else')}, not a file"
        raise NotAFileError(errno.EINVAL, what, str(path))


def read_document(file: str, raw: bytes) -> tuple[Document | None, list[Problem]]:
    """Read the bytes of `file`, JSON if its name says so.

    Returns:
        The document, or None if the file is unusable, and its problems.
    """
    text, problems = decode(file, raw)
    return (None, problems) if text is None else read_text(file, text)


def read_text(
    file: str, text: str, *, max_values: int = MAX_VALUES
) -> tuple[Document | None, list[Problem]]:
    """Read the text of `file`, JSON if its name says so.

    Args:
        file: Its name, for messages.
        text: The text.
        max_values: Values that YAML may have, those repeated by aliases counted each time.

    Returns:
        The document, or None if the file is unusable, and its problems.
    """
    parser: JsonReader | YamlReader = YamlReader(file, text, max_values=max_values)
    if file.endswith(".json"):
        parser = JsonReader(file, text)
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
        The documents, or None if the file is unusable, and its problems.
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


def toml_problem(file: str, text: str) -> Problem | None:
    """Return why the text of `file` is not TOML, or None."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        tomlkit.parse(text)
    except TOMLKitError as error:
        reason = re.sub(r" at line \d+ col \d+$", "", str(error))
        message = f"this is not TOML: {reason}. Look at the quotes and brackets."
        return Problem(file, getattr(error, "line", 1), getattr(error, "col", 0) + 1, message)
    return None


def decode(file: str, raw: bytes) -> tuple[str | None, list[Problem]]:
    """Return the text of a file, or None and the reason."""
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
