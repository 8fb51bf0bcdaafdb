"""The text of a schema file in, what it says as plain data out, and where in it something is."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from loadsmith.errors import ResolveError

# libyaml reads some ten times faster; a Python without it still works.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: Levels of a file. libyaml ends the process where a file has some thousands.
MAX_DEPTH = 60

#: Values of a file, those repeated by aliases counted each time.
MAX_VALUES = 2_000_000

_AGAIN = "Write it again with `loadsmith schema`."

#: What a file that dlt has written has none of, or few: ways to nest deeply and to repeat.
_SUSPECT = re.compile(r"\*|[\[{]\s*[\[{]|- - |\? |^ {120}|\{ *\S+ *: *[\[{]", re.MULTILINE)


def parse_schema(text: str, shown: str, *, remedy: str = _AGAIN) -> dict[str, Any]:
    """Return what the text of a schema file says, YAML or JSON.

    Args:
        text: The text.
        shown: The file in messages; JSON if it ends so.
        remedy: What to do about a file that is not right.

    Raises:
        ResolveError: It is not a mapping, or too deep, or no YAML; line and column are named.
    """
    is_json = shown.endswith(".json")
    value = _parse_json(text, shown, remedy) if is_json else _parse_yaml(text, shown, remedy)
    if value is None:
        raise ResolveError(f"{shown}:1:1: the file is empty. {remedy}")
    if not isinstance(value, dict):
        raise ResolveError(f"{shown}:1:1: this is not a schema that dlt exported. {remedy}")
    return value


def place_in(text: str, path: Sequence[str]) -> tuple[int, int]:
    """Return line and column, from 1, of the key at the end of a path; of the nearest one above.

    Args:
        text: A text that `parse_schema` reads.
        path: Names of keys, the outermost first.
    """
    found = (1, 1)
    try:
        events = _events(text)
        root = next(event for event in events if isinstance(event, yaml.NodeEvent))
        for keys, mark in _keys(events, root, []):
            if keys == list(path[: len(keys)]):
                found = (mark.line + 1, mark.column + 1)
                if len(keys) == len(path):
                    break
    except yaml.YAMLError:
        # JSON may have what YAML does not allow.
        return found
    return found


def find_twice(text: str) -> tuple[str, int, int, int] | None:
    """Return a key that is in one mapping twice: name, line, column, and the line of the first.

    Args:
        text: A text that `parse_schema` reads; of such keys it takes the last one.
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
        # JSON may have what YAML does not allow.
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
            below
            for found in level
            for below in (found.values() if isinstance(found, dict) else found)
            if isinstance(below, (dict, list))
        ]
    return bool(level)


def _too_deep(text: str) -> tuple[int, int]:
    """Return where a JSON text goes deeper than files do."""
    depth = 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', text):
        depth += bool(found[1]) - bool(found[2])
        if depth > MAX_DEPTH:
            at = found.start()
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
        # Of a text that ends too early, libyaml says that the mistake is after it.
        line = min(line, text.count("\n") + 1)
        problem = getattr(exc, "problem", None) or "it has a character that YAML does not allow"
        raise ResolveError(
            f"{shown}:{line}:{column}: this is not YAML: {problem[:200]}. {remedy}"
        ) from exc
    except (ValueError, TypeError, RecursionError, AttributeError) as exc:
        # PyYAML lets out what Python says of a date such as 2020-99-99, or of a key like [1].
        line, column = _unreadable(text)
        raise ResolveError(
            f"{shown}:{line}:{column}: this is not YAML that can be read: {str(exc)[:200]}."
            f" {remedy}"
        ) from exc


def _refuse_excess(text: str, shown: str, remedy: str) -> None:
    """Refuse a text that would take the process or its memory: too deep, or too much by aliases."""
    sizes: dict[str | None, int] = {}
    levels: list[tuple[str | None, int]] = []
    count = 0
    for event in _events(text):
        mark = event.start_mark
        place = f"{shown}:{mark.line + 1}:{mark.column + 1}"
        if isinstance(event, yaml.AliasEvent):
            # An alias inside what it names goes round for ever.
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
    """Yield the path of each key below a node, and where it is; an entry of a list has no name."""
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
    """Return where the first character is that YAML does not allow."""
    found = re.search(
        r"[^\x09\x0A\x0D\x20-\x7E\x85\xA0-\uD7FF\uE000-\uFEFE\uFF00-\uFFFD\U00010000-\U0010FFFF]",
        text,
    )
    at = found.start() if found else 0
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _unreadable(text: str) -> tuple[int, int]:
    """Return where the scalar is that Python cannot read as what it looks like."""
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
