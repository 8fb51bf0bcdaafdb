"""The values of a file as a tree of nodes with lines and columns."""

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from loadsmith.errors import Problem

MAX_DEPTH = 60
"""Levels of a file; the deepest source configuration of `rest_api` needs about ten."""

MAX_VALUES = 500_000
"""Values of a file, those repeated by aliases counted each time."""


class Node:
    """A value of a file with its place: a scalar, a list of nodes, or nodes by name."""

    __slots__ = ("column", "keys", "line", "size", "value")

    def __init__(
        self,
        value: Any,
        line: int,
        column: int,
        keys: dict[str, tuple[int, int]] | None = None,
        size: int = 1,
    ) -> None:
        self.value = value
        self.line = line
        self.column = column
        self.keys = keys
        self.size = size

    def plain(self) -> Any:
        """Return the value without the places."""
        value = self.value
        if isinstance(value, dict):
            return {key: child.plain() for key, child in value.items()}
        if isinstance(value, list):
            return [child.plain() for child in value]
        return value

    def merged_over(self, defaults: "Node") -> "Node":
        """Return this node over `defaults`; mappings are merged key by key."""
        if not isinstance(self.value, dict) or not isinstance(defaults.value, dict):
            return self
        value = dict(defaults.value)
        for key, child in self.value.items():
            value[key] = child.merged_over(value[key]) if key in value else child
        keys = {**(defaults.keys or {}), **(self.keys or {})}
        return Node(value, self.line, self.column, keys)

    def _child(self, step: str | int) -> "Node | None":
        value = self.value
        if isinstance(value, dict):
            return value.get(step)
        if isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
            child: Node = value[step]
            return child
        return None

    def follow(self, path: tuple[str | int, ...]) -> tuple["Node", tuple[str | int, ...]]:
        """Return the node at `path` or the last existing one, and the rest of the path."""
        node = self
        for index, step in enumerate(path):
            child = node._child(step)
            if child is None:
                return node, path[index:]
            node = child
        return node, ()

    def place(self, path: tuple[str | int, ...], *, at_key: bool = False) -> tuple[int, int]:
        """Return line and column of the value at `path`, or of its key."""
        if at_key and path:
            parent, rest = self.follow(path[:-1])
            if not rest and parent.keys and path[-1] in parent.keys:
                return parent.keys[str(path[-1])]
        node, _ = self.follow(path)
        return node.line, node.column


@dataclass(frozen=True)
class Document:
    """The tree of a file, and its name for messages."""

    file: str
    root: Node

    def problem(self, message: str, *path: str | int, at_key: bool = False) -> Problem:
        """Return a problem at the value that `path` leads to, or at its key."""
        line, column = self.root.place(path, at_key=at_key)
        return Problem(self.file, line, column, message)


class Unreadable(Exception):
    """Ends the reading of one file; it never leaves this package."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Lines:
    """Converts offsets in a text to lines and columns, both from 1."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def at(self, offset: int) -> tuple[int, int]:
        """Return line and column of a character."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def end(self) -> tuple[int, int]:
        """Return line and column behind the last character."""
        return self.at(self._length)


def shorten(text: str, *, quoted: bool = True) -> str:
    """Return a text in a length that fits a message."""
    shown = text if len(text) <= 60 else text[:57] + "..."
    return repr(shown) if quoted else shown
