"""Read the text of a schema file as plain data, and find the place of a key in it."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from loadsmith.errors import ResolveError

# libyaml reads some ten times faster; a Python without it still works.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: Most levels of nesting. libyaml crashes the process on files with some thousands.
MAX_DEPTH = 60

#: Most values; a value that aliases repeat counts each time.
MAX_VALUES = 2_000_000

_AGAIN = "Write it again with `loadsmith schema`."

#: Constructs that dlt never or seldom writes: deep nesting and aliases.
_SUSPECT = re.compile(r"\*|[\[{]\s*[\[{]|- - |\? |^ {120}|\{ *\S+ *: *[\[{]", re.MULTILINE)


def parse_schema(text: str, shown: str, *, remedy: str = _AGAIN) -> dict[str, Any]:
    """Return the content of a schema file, YAML or JSON.

    Args:
        text: The text.
        shown: The file name in messages; `.json` at its end means JSON.
        remedy: What the user can do about a wrong file.

    Raises:
        ResolveError: The text is no YAML, no mapping or too deep. Line and column are named.
    """
    is_json = shown.endswith(".json")
    value = _parse_json(text, shown, remedy) if is_json else _parse_yaml(text, shown, remedy)
    if value is None:
        raise ResolveError(f"{shown}:1:1: the file is empty. {remedy}")
    if not isinstance(value, dict):
        raise ResolveError(f"{shown}:1:1: this is not a schema that dlt exported. {remedy}")
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


def place_in(text: str, path: Sequence[str]) -> tuple[int, int]:
    """Return line and column, from 1, of the key at the end of a path, or of its nearest parent.

    Args:
        text: A text that `parse_schema` reads.
        path: Names of keys, outermost first.
    """
    place = (1, 1)
    try:
        events = _events(text)
        root = next(event for event in events if isinstance(event, yaml.NodeEvent))
        for keys, mark in _keys(events, root, []):
            if keys == list(path[: len(keys)]):
                place = (mark.line + 1, mark.column + 1)
                if len(keys) == len(path):
                    break
    except yaml.YAMLError:
        # Some JSON is not valid YAML.
        return place
    return place


def find_twice(text: str) -> tuple[str, int, int, int] | None:
    """Return a key that a mapping has twice: name, line, column, and the line of the first.

    Args:
        text: A text that `parse_schema` reads; it takes the last of such keys.
    """
    lines: list[dict[str, int] | None] = []
    expects_key: list[bool] = []
    try:
        for event in _events(text):
            if isinstance(event, yaml.CollectionEndEvent):
                lines.pop()
                expects_key.pop()
            if not isinstance(event, yaml.NodeEvent):
                continue
            known = lines[-1] if lines else None
            if known is not None:
                if expects_key[-1] and isinstance(event, yaml.ScalarEvent):
                    mark: Any = event.start_mark
                    first = known.setdefault(event.value, mark.line + 1)
                    if first != mark.line + 1:
                        return event.value, mark.line + 1, mark.column + 1, first
                expects_key[-1] = not expects_key[-1]
            if isinstance(event, yaml.CollectionStartEvent):
                is_mapping = isinstance(event, yaml.MappingStartEvent)
                lines.append({} if is_mapping else None)
                expects_key.append(is_mapping)
    except yaml.YAMLError:
        # Some JSON is not valid YAML.
        return None
    return None


def _parse_json(text: str, shown: str, remedy: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as exc:
        raise ResolveError(
            f"{shown}:{exc.lineno}:{exc.colno}: this is not JSON: {exc.msg}. {remedy}"
        ) from exc
    except (RecursionError, ValueError) as exc:
        # Python also refuses numbers of thousands of digits.
        raise ResolveError(f"{shown}:1:1: this is not JSON that can be read. {remedy}") from exc
    if _is_deep(value):
        line, column = _too_deep(text)
        raise ResolveError(f"{shown}:{line}:{column}: more than {MAX_DEPTH} levels. {remedy}")
    return value


def _is_deep(value: Any) -> bool:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    return bool(level)


def _too_deep(text: str) -> tuple[int, int]:
    """Return the place where a JSON text exceeds `MAX_DEPTH`."""
    depth = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', text):
        depth += bool(match[1]) - bool(match[2])
        if depth > MAX_DEPTH:
            at = match.start()
            return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return 1, 1


def _parse_yaml(text: str, shown: str, remedy: str) -> Any:
    try:
        if _SUSPECT.search(text):
            _refuse_excess(text, shown, remedy)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, of libyaml
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else _strange(text)
        # If a text ends too early, libyaml puts the mistake behind its last line.
        line = min(line, text.count("\n") + 1)
        problem = getattr(exc, "problem", None) or "it has a character that YAML does not allow"
        raise ResolveError(
            f"{shown}:{line}:{column}: this is not YAML: {problem[:200]}. {remedy}"
        ) from exc
    except (ValueError, TypeError, RecursionError, AttributeError) as exc:
        # PyYAML does not catch what Python raises for a date such as 2020-99-99, or a key like [1].
        line, column = _unreadable(text)
        raise ResolveError(
            f"{shown}:{line}:{column}: this is not YAML that can be read: {str(exc)[:200]}."
            f" {remedy}"
        ) from exc


def _refuse_excess(text: str, shown: str, remedy: str) -> None:
    """Refuse a text that nests too deeply, or whose aliases would fill the memory."""
    sizes: dict[str | None, int] = {}
    levels: list[tuple[str | None, int]] = []
    count = 0
    for event in _events(text):
        mark = event.start_mark
        place = f"{shown}:{mark.line + 1}:{mark.column + 1}"
        if isinstance(event, yaml.AliasEvent):
            # Such a text would be endless.
            if any(anchor == event.anchor for anchor, _ in levels):
                raise ResolveError(f"{place}: an alias stands in what it names. {remedy}")
            count += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(levels) == MAX_DEPTH:
                raise ResolveError(f"{place}: more than {MAX_DEPTH} levels. {remedy}")
            levels.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = levels.pop()
            if anchor:
                sizes[anchor] = count - before
        else:
            count += 1
        if count > MAX_VALUES:
            raise ResolveError(f"{place}: more than {MAX_VALUES:,} values. {remedy}")


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=_Loader)


def _keys(events: Iterator[Any], event: Any, path: list[str]) -> Iterator[tuple[list[str], Any]]:
    """Yield the path and the place of each key below a node; entries of lists have no name."""
    if isinstance(event, yaml.MappingStartEvent):
        while not isinstance(key := next(events), yaml.MappingEndEvent):
            below = [*path, key.value if isinstance(key, yaml.ScalarEvent) else ""]
            if isinstance(key, yaml.ScalarEvent):
                yield below, key.start_mark
            else:
                yield from _keys(events, key, below)
            yield from _keys(events, next(events), below)
    elif isinstance(event, yaml.SequenceStartEvent):
        while not isinstance(entry := next(events), yaml.SequenceEndEvent):
            yield from _keys(events, entry, [*path, ""])


def _strange(text: str) -> tuple[int, int]:
    """Return the place of the first character that YAML does not allow."""
    match = re.search(
        r"[^\x09\x0A\x0D\x20-\x7E\x85\xA0-\uD7FF\uE000-\uFEFE\uFF00-\uFFFD\U00010000-\U0010FFFF]",
        text,
    )
    at = match.start() if match else 0
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _unreadable(text: str) -> tuple[int, int]:
    """Return the place of a scalar that looks like a date or a number, but is none."""
    resolver: Any = yaml.SafeLoader("")
    for event in _events(text):
        mark = event.start_mark
        if not isinstance(event, yaml.ScalarEvent):
            continue
        tag = event.tag or resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        try:
            resolver.construct_object(yaml.ScalarNode(tag, event.value))
        except (yaml.YAMLError, ValueError, TypeError, AttributeError):
            return mark.line + 1, mark.column + 1
    return 1, 1
