"""Parse the part of Mustache that files may use.

A template has variables (`{{name}}`, `{{{name}}}`, `{{&name}}`), comments (`{{! ... }}`) and one
section, `{{#date}}value|format{{/date}}`. Any other tag is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from loadsmith.errors import ConfigError

_DATE = "date"

_TAG = re.compile(
    r"""
    (?P<indent>[ \t]*)
    \{\{\s*(?:
        (?P<delimiters>=)\s*.+?\s*= |
        \{\s*(?P<raw>.+?)\s*\} |
        (?P<kind>[!>&/\#^]?)\s*(?P<name>[\s\S]+?)
    )\s*\}\}
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Variable:
    """`{{name}}`: the value of a variable."""

    name: str


@dataclass(frozen=True)
class DateSection:
    """`{{#date}}...{{/date}}`: a time and its format, with `|` between them."""

    parts: tuple["Part", ...]


Part = str | Variable | DateSection


@dataclass(frozen=True)
class _Tag:
    kind: str
    name: str


@lru_cache(maxsize=4096)
def parse_template(text: str) -> tuple[Part, ...]:
    """Return the parts of a template in their order.

    Raises:
        ConfigError: A tag is not closed, not supported, or not the name of a variable.
    """
    parts = tuple(_parts(iter(_tokens(text)), inside_date=False))
    # `}}` alone ends nested JSON in a string; `{{` alone is a variable that was not closed.
    if any(isinstance(part, str) and "{{" in part for part in parts):
        raise ConfigError(
            "the template is malformed: '{{' is not closed. Write variables as '{{name}}'."
        )
    return parts


def _tokens(text: str) -> list[str | _Tag]:
    """Split a template into texts and tags.

    Raises:
        ConfigError: A section is not closed, or another one is.
    """
    tokens: list[str | _Tag] = []
    sections: list[tuple[_Tag, int]] = []
    position = 0
    while match := _TAG.search(text, position):
        tag = _Tag(
            match["delimiters"] or match["kind"] or "",
            "" if match["delimiters"] else match["raw"] or match["name"],
        )
        start, end = match.span()
        if tag.kind in ("", "&") or not _fills_line(text, start, end):
            start = match.end("indent")
        else:
            # A line that holds nothing but such a tag leaves no empty line behind.
            end += text.startswith("\r", end)
            end += text.startswith("\n", end)
        if start != position:
            tokens.append(text[position:start])
        tokens.append(tag)
        position = end
        if tag.kind in ("#", "^"):
            sections.append((tag, end))
        elif tag.kind == "/":
            expected = f"/{sections[-1][0].name}" if sections else f"#{tag.name}"
            if f"/{tag.name}" != expected:
                raise _unclosed(
                    f"Section end tag mismatch at position {end}. Found {{{{/{tag.name}}}}}, "
                    f"expected {{{{{expected}}}}}"
                )
            sections.pop()
    if sections:
        tag, begin = sections[0]
        raise _unclosed(
            f"Did not find a matching tag for {{{{{tag.kind}{tag.name}}}}}. Its section starts at "
            f"position {begin}"
        )
    if position != len(text):
        tokens.append(text[position:])
    return tokens


def _fills_line(text: str, start: int, end: int) -> bool:
    return text[start - 1 : start] in ("", "\r", "\n") and text[end : end + 1] in ("", "\r", "\n")


def _unclosed(message: str) -> ConfigError:
    return ConfigError(
        f"the template is malformed: {message}. Close each section as in "
        "'{{#date}}value|format{{/date}}'."
    )


def _parts(tokens: Iterator[str | _Tag], *, inside_date: bool) -> Iterator[Part]:
    for token in tokens:
        if isinstance(token, str):
            yield token
        elif token.kind in ("", "&"):
            name = token.name.strip()
            if not name or any(character in name for character in "{}\n"):
                raise ConfigError(
                    f"the template is malformed: {name!r} is not the name of a variable. Write "
                    "variables as '{{name}}'."
                )
            yield Variable(name)
        elif token.kind == "#" and token.name == _DATE and not inside_date:
            yield DateSection(tuple(_parts(tokens, inside_date=True)))
        elif token.kind == "/":
            return
        elif token.kind != "!":
            shown = f" ({token.name})" if token.name else ""
            raise ConfigError(
                f"the template has a tag that is not supported{shown}. "
                "There are variables, '{{name}}', and '{{#date}}value|format{{/date}}'."
            )
