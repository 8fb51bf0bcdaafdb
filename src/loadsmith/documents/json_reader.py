"""Read JSON into a tree of nodes.

A YAML reader would reject some JSON, such as characters escaped as surrogate pairs.
"""

import re
from json import JSONDecodeError, JSONDecoder
from typing import cast

from loadsmith.documents.nodes import MAX_DEPTH, Lines, Node, Unreadable, shorten
from loadsmith.errors import Problem

_DECODER = JSONDecoder()


class JsonReader:
    """Reads a JSON text; `problems` holds the mistakes that do not end the reading."""

    _SPACE = re.compile(r"[ \t\n\r]*")
    _NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
    _WORDS = (("true", True), ("false", False), ("null", None))

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._text = text
        self._lines = Lines(text)

    def read(self) -> Node | None:
        """Return the tree.

        Raises:
            Unreadable: The text is not JSON.
        """
        node, offset = self._value(self._skip(0), 0)
        offset = self._skip(offset)
        if offset < len(self._text):
            raise self._stop(offset, "there is more after the end of the value. Remove it.")
        return node

    def _skip(self, offset: int) -> int:
        match = self._SPACE.match(self._text, offset)
        return match.end() if match else offset

    def _stop(self, offset: int, message: str) -> Unreadable:
        line, column = self._lines.at(offset)
        return Unreadable(Problem(self.file, line, column, f"this is not JSON: {message}"))

    def _value(self, offset: int, depth: int) -> tuple[Node, int]:
        line, column = self._lines.at(offset)
        first = self._text[offset : offset + 1]
        if depth > MAX_DEPTH:
            raise self._stop(offset, f"more than {MAX_DEPTH} levels. Make it flatter.")
        if first == '"':
            text, end = self._string(offset)
            return Node(text, line, column), end
        if first == "{":
            return self._mapping(offset, depth)
        if first == "[":
            return self._list(offset, depth)
        for word, value in self._WORDS:
            if self._text.startswith(word, offset):
                return Node(value, line, column), offset + len(word)
        match = self._NUMBER.match(self._text, offset)
        if match is None:
            raise self._stop(offset, "a value is missing here, or text without quotes.")
        try:
            is_float = match.group(1) or match.group(2)
            number: float = float(match.group()) if is_float else int(match.group())
        except ValueError as error:
            raise self._stop(offset, "this number is too long. Put it into quotes.") from error
        return Node(number, line, column), match.end()

    def _string(self, offset: int) -> tuple[str, int]:
        try:
            text, end = _DECODER.raw_decode(self._text, offset)
        except JSONDecodeError as error:
            raise self._stop(error.pos, f"{error.msg}. Look at the quotes.") from error
        return cast(str, text), end

    def _list(self, offset: int, depth: int) -> tuple[Node, int]:
        line, column = self._lines.at(offset)
        items: list[Node] = []
        offset = self._skip(offset + 1)
        while self._text[offset : offset + 1] != "]":
            if items:
                offset = self._expect(",", offset, "]")
            node, offset = self._value(offset, depth + 1)
            items.append(node)
            offset = self._skip(offset)
        return Node(items, line, column), offset + 1

    def _mapping(self, offset: int, depth: int) -> tuple[Node, int]:
        line, column = self._lines.at(offset)
        members: dict[str, Node] = {}
        keys: dict[str, tuple[int, int]] = {}
        offset = self._skip(offset + 1)
        while self._text[offset : offset + 1] != "}":
            if keys:
                offset = self._expect(",", offset, "}")
            if self._text[offset : offset + 1] != '"':
                raise self._stop(offset, "a name in double quotes is missing here.")
            start = offset
            name, offset = self._string(offset)
            offset = self._expect(":", self._skip(offset), ":")
            node, offset = self._value(offset, depth + 1)
            if name in keys:
                at_line, at_column = self._lines.at(start)
                message = (
                    f"the key {shorten(name)} is here twice, first in line {keys[name][0]}. "
                    "Remove one."
                )
                self.problems.append(Problem(self.file, at_line, at_column, message))
            keys[name] = self._lines.at(start)
            members.setdefault(name, node)
            offset = self._skip(offset)
        return Node(members, line, column, keys), offset + 1

    def _expect(self, character: str, offset: int, closing: str) -> int:
        if self._text[offset : offset + 1] != character:
            wanted = f"'{character}'" if character == closing else f"'{character}' or '{closing}'"
            raise self._stop(offset, f"{wanted} is missing here.")
        return self._skip(offset + 1)
