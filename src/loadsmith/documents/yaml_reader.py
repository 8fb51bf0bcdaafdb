"""Read YAML into a tree of nodes; nothing in the file is executed.

libyaml parses the text to events. This module builds the tree from them without recursion, so that
depth and aliases are limited, duplicate keys are reported, and each value has a place. The values
of `yaml.safe_load` have no places, and its C code recurses as deeply as the file is nested.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from loadsmith.documents.nodes import MAX_DEPTH, MAX_VALUES, Lines, Node, Unreadable, shorten
from loadsmith.errors import Problem

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # a PyYAML that was built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]  # same methods

_MERGE_KEY = "<<"
_DATE = "tag:yaml.org,2002:timestamp"


class TextDates(yaml.SafeLoader):
    """PyYAML's pure Python loader with dates as text; Dagster reads `defs.yaml` with it.

    In rare cases it accepts what libyaml rejects, and the other way round.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [resolver for resolver in resolvers if resolver[0] != _DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass
class _Frame:
    """A mapping or list that is not complete yet."""

    line: int
    column: int
    is_mapping: bool
    is_flow: bool
    anchor: str | None
    items: list[Node] = field(default_factory=list)
    members: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    key: str | None = None
    merged: list[Node] = field(default_factory=list)
    size: int = 1


class YamlReader:
    """Reads a YAML text; `problems` holds the mistakes that do not end the reading.

    Args:
        file: Its name, for messages.
        text: The text.
        loader: Loader class of PyYAML.
        max_values: Values that it may have, those repeated by aliases counted each time.
    """

    def __init__(
        self, file: str, text: str, *, loader: Any = _SafeLoader, max_values: int = MAX_VALUES
    ) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._text = text
        self._loader_class = loader
        self._max_values = max_values
        self._anchors: dict[str, Node] = {}
        self._frames: list[_Frame] = []
        self._roots: list[Node] = []
        self._takes_many = False
        self._tags: dict[tuple[str, tuple[bool, bool]], str] = {}

    def read(self) -> Node | None:
        """Return the tree, or None if the text holds only comments.

        Raises:
            Unreadable: The text is not YAML, exceeds a limit, or has several documents.
        """
        self._read()
        return self._roots[0] if self._roots else None

    def read_all(self) -> list[Node]:
        """Return the trees of all documents.

        Raises:
            Unreadable: The text is not YAML, or exceeds a limit.
        """
        self._takes_many = True
        self._read()
        return self._roots

    def _read(self) -> None:
        try:
            self._loader = self._loader_class(self._text)
            self._resolve: Any = self._loader.resolve
            try:
                for event in self._events():
                    self._take(event)
            finally:
                self._loader.dispose()
        except yaml.reader.ReaderError as error:
            line, column = Lines(self._text).at(max(0, error.position or 0))
            message = "this character is not allowed in YAML. Remove it, or write it escaped."
            raise Unreadable(Problem(self.file, line, column, message)) from error
        except yaml.MarkedYAMLError as error:
            raise Unreadable(self._explain(error)) from error
        except yaml.YAMLError as error:
            raise Unreadable(Problem(self.file, 1, 1, f"this is not YAML: {error}.")) from error
        except (ValueError, OverflowError) as error:
            # PyYAML's scanner lets Python's error about an escape such as "\U99999999" through.
            mark = self._loader.get_mark()
            message = "this is not YAML: no character has this number. Look at what is escaped."
            raise Unreadable(Problem(self.file, mark.line + 1, mark.column + 1, message)) from error

    def _events(self) -> Iterator[Any]:
        while self._loader.check_event():
            yield self._loader.get_event()

    def _explain(self, error: yaml.MarkedYAMLError) -> Problem:
        mark = error.problem_mark or error.context_mark
        # The added blank makes an empty last line count as a line.
        lines = f"{self._text} ".splitlines()
        if mark and mark.line >= len(lines):
            # libyaml counts one line too many if the last line has no line end.
            mark = error.context_mark or mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if line > len(lines):
            line, column = len(lines), len(lines[-1])
        written = lines[line - 1]
        context = error.context_mark or error.problem_mark
        before = lines[context.line] if context and context.line < len(lines) else ""
        reason = ", ".join(part for part in (error.problem, error.context) if part)
        if "\t" in written[: max(column, 1)]:
            advice = "YAML is indented with spaces. Replace the tab."
        elif "alias" in reason:
            advice = "A value that begins with '*' needs quotes. Write it as '* ...'."
        elif "{{" in written or "{{" in before:
            advice = "A value that begins with '{{' needs quotes."
        else:
            advice = (
                "Look at the indentation, the colons and the quotes here and in the line above."
            )
        return Problem(self.file, line, column, f"this is not YAML: {reason}. {advice}")

    def _stop(self, line: int, column: int, message: str) -> Unreadable:
        return Unreadable(Problem(self.file, line, column, message))

    def _report(self, line: int, column: int, message: str) -> None:
        self.problems.append(Problem(self.file, line, column, message))

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()
            if self._roots and not self._takes_many:
                raise self._stop(
                    *_place(event),
                    "a second document begins here. Put it into a file of its own.",
                )

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        line, column = _place(event)
        if self._frames and self._frames[-1].is_mapping and self._frames[-1].key is None:
            # A key is the text that is written: `on`, `no` and `1` are names here.
            self._key(str(event.value), line, column, plain=bool(event.implicit[0]))
            return
        node = Node(self._construct(event, line, column), line, column)
        self._add(node, event.anchor)

    def _construct(self, event: yaml.ScalarEvent, line: int, column: int) -> Any:
        tag = event.tag
        if tag in (None, "!"):
            tag = self._tag_of(event.value, event.implicit)
        elif tag != "tag:yaml.org,2002:str":
            self._refuse_tag(tag, line, column)
            return event.value
        if tag == "tag:yaml.org,2002:str":
            return event.value
        try:
            return self._loader.construct_object(yaml.ScalarNode(tag, event.value))
        except (ValueError, OverflowError, KeyError, IndexError, AttributeError, yaml.YAMLError):
            # `2024-02-31` has the form of a date, but is not a date.
            self._report(
                line,
                column,
                f"{shorten(event.value)} is not a value that YAML can read. Put it into quotes.",
            )
            return event.value

    def _tag_of(self, text: str, implicit: tuple[bool, bool]) -> str:
        # Regular expressions decide; the same few words are most of a file.
        tag = self._tags.get((text, implicit))
        if tag is None:
            tag = self._tags[text, implicit] = self._resolve(yaml.ScalarNode, text, implicit)
        return tag

    def _refuse_tag(self, tag: str, line: int, column: int) -> None:
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        self._report(
            line,
            column,
            f"the tag {shorten(shown)} is not allowed, files hold plain values only. Remove it.",
        )

    def _key(self, name: str, line: int, column: int, *, plain: bool) -> None:
        frame = self._frames[-1]
        frame.key = name
        if name == _MERGE_KEY and plain:
            return
        if name in frame.keys:
            first = frame.keys[name]
            self._report(
                line,
                column,
                f"the key {shorten(name)} is here twice, first in line {first[0]}. Remove one.",
            )
        frame.keys[name] = (line, column)

    def _open(self, event: Any) -> None:
        line, column = _place(event)
        if len(self._frames) >= MAX_DEPTH:
            raise self._stop(
                line, column, f"the file has more than {MAX_DEPTH} levels here. Make it flatter."
            )
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            self._refuse_tag(event.tag, line, column)
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.is_mapping and frame.key is None:
            advice = (
                "A value that begins with '{{' needs quotes: '{{name}}'."
                if is_mapping and frame.is_flow
                else "Write a name."
            )
            raise self._stop(
                frame.line if frame.is_flow else line,
                frame.column if frame.is_flow else column,
                f"a key cannot be a mapping or a list. {advice}",
            )
        self._frames.append(
            _Frame(
                line, column, is_mapping, bool(getattr(event, "flow_style", False)), event.anchor
            )
        )

    def _close(self) -> None:
        frame = self._frames.pop()
        if not frame.is_mapping:
            self._add(Node(frame.items, frame.line, frame.column, None, frame.size), frame.anchor)
            return
        for node in frame.merged:
            for key, child in node.value.items():
                if key not in frame.members:
                    frame.members[key] = child
                    frame.keys[key] = (node.keys or {}).get(key, (child.line, child.column))
                    frame.size += child.size
        node = Node(frame.members, frame.line, frame.column, frame.keys, frame.size)
        self._add(node, frame.anchor)

    def _alias(self, event: yaml.AliasEvent) -> None:
        line, column = _place(event)
        name = str(event.anchor)
        node = self._anchors.get(name)
        if node is None:
            inside = any(frame.anchor == name for frame in self._frames)
            raise self._stop(
                line,
                column,
                f"the alias *{shorten(name, quoted=False)} "
                + (
                    "stands inside of what it repeats. Remove it."
                    if inside
                    else "has no anchor before it. A value that begins with '*' needs quotes."
                ),
            )
        if self._frames and self._frames[-1].is_mapping and self._frames[-1].key is None:
            raise self._stop(line, column, "a key cannot be an alias. Write a name.")
        self._add(node, None)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._frames:
            self._roots.append(node)
            return
        frame = self._frames[-1]
        frame.size += node.size
        if frame.size > self._max_values:
            raise self._stop(
                node.line,
                node.column,
                f"the aliases make more than {self._max_values:,} values of the file. Write fewer.",
            )
        if not frame.is_mapping:
            frame.items.append(node)
            return
        key = frame.key or ""
        frame.key = None
        if key == _MERGE_KEY and key not in frame.keys:
            self._merge(frame, node)
        elif key not in frame.members:
            frame.members[key] = node

    def _merge(self, frame: _Frame, node: Node) -> None:
        nodes = node.value if isinstance(node.value, list) else [node]
        for merged in nodes:
            if isinstance(merged.value, dict):
                frame.merged.append(merged)
            else:
                self._report(
                    node.line, node.column, "`<<` takes a mapping, such as an alias to one."
                )


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
