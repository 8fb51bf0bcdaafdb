"""Fill the `{{variables}}` of a text, a list or a mapping.

An unknown variable is an error, nothing is HTML-escaped, and a text that is one variable gets the
variable's value whatever its type.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any

from loadsmith.config.mustache import DateSection, Part, Variable, parse_template
from loadsmith.errors import ConfigError, ResolveError, did_you_mean
from loadsmith.model import read_time

_DATE_FORMATS = ("%Y-%m-%d-%H:%M", "%Y-%m", "%Y%m%d", "%Y-%m-%dT%H", "%Y")
"""Forms of dates beside ISO text: Dagster's default partition keys."""


_ONE_WINDOW = (
    ": it is for no partition that is a window of time. Give the asset such partitions "
    "(`partitions` in a workflow file), or leave the variable out."
)

_PARTITION_NAMES = {
    "context.partition_key": (
        ": it is for no partition, or for several at once. Give the asset partitions (`partitions` "
        "in a workflow file) and run one of them, or leave the variable out."
    ),
    "context.partition_window_start": _ONE_WINDOW,
    "context.partition_window_end": _ONE_WINDOW,
}
"""Variables that have no value in a run without partitions, and the advice for them."""


@dataclass(frozen=True)
class Scope:
    """The variables that are known before a run.

    Attributes:
        names: What may follow the first part of a variable: `{"context": {"run_id"}}`; None
            where only the run knows, and `x.*` where it knows what follows `x`.
        hint: What to do about a variable whose first part is not in `names`.
    """

    names: Mapping[str, frozenset[str] | None]
    hint: str = ""

    @property
    def _full(self) -> frozenset[str]:
        return frozenset(
            f"{first}.{rest}"
            for first, known in self.names.items()
            for rest in (("NAME",) if known is None else known)
        )

    def problem_of(self, name: str) -> str | None:
        """Return the problem with the variable `name`, or None."""
        first, _, rest = name.partition(".")
        known = self.names.get(first, frozenset())
        if known is None or rest in known or f"{rest.partition('.')[0]}.*" in known:
            return None
        full_names = candidates = self._full
        if first in self.names:
            candidates = frozenset(full for full in full_names if full.startswith(f"{first}."))
        hint = did_you_mean(name, candidates) or _same_start(name, candidates)
        if first not in self.names:
            hint += f" {self.hint}" if self.hint else ""
        return f"there is no variable '{{{{{name}}}}}'.{hint}"


def render(value: Any, variables: Mapping[str, Any]) -> Any:
    """Fill the variables in every string of `value`; lists and mappings are walked.

    A string that is one variable and nothing else becomes the variable's value, whatever its
    type. Values are looked up by their dotted name, first as a whole, then part by part.

    Raises:
        ResolveError: A variable is unknown, or a date cannot be read.
        ConfigError: A template is malformed.
    """
    if isinstance(value, str):
        return _render_text(value, variables)
    if isinstance(value, Mapping):
        return {key: render(child, variables) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([render(child, variables) for child in value])
    return value


def names_in(value: Any) -> set[str]:
    """Return the dotted names of the variables in every string of `value`.

    Raises:
        ConfigError: A template is malformed.
    """
    return {
        name
        for _, text in _texts(value, ())
        if "{{" in text
        for name in _names(parse_template(text))
    }


def template_problems(value: Any, scope: Scope) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the problems of the templates in `value` that are known before a run.

    Yields:
        The path in `value` and the message, for each mistake.
    """
    for path, text in _texts(value, ()):
        if "{{" not in text:
            continue
        try:
            parts = parse_template(text)
        except ConfigError as error:
            yield path, str(error)
            continue
        for name in dict.fromkeys(_names(parts)):
            problem = scope.problem_of(name)
            if problem:
                yield path, problem
        for part in parts:
            message = _date_problem(part)
            if message:
                yield path, message


def _same_start(name: str, candidates: frozenset[str]) -> str:
    """Return the first candidates in a sentence, if all of them would be too long."""
    shown = sorted(candidates)[:12]
    return f" There is: {', '.join(shown)}, ..." if len(candidates) > len(shown) else ""


def _texts(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, (dict, Mapping)):
        for key, child in value.items():
            yield from _texts(child, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from _texts(child, (*path, index))


def _names(parts: tuple[Part, ...]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Variable):
            yield part.name
        elif isinstance(part, DateSection):
            yield from _names(part.parts)


def _date_problem(part: Part) -> str | None:
    """Return the problem with a date section that is known without values, or None."""
    if not isinstance(part, DateSection):
        return None
    written = "".join(piece for piece in part.parts if isinstance(piece, str))
    if "|" not in written:
        return "the section date has no format. Write '{{#date}}value|%Y-%m-%d{{/date}}'."
    if all(isinstance(piece, str) for piece in part.parts):
        try:
            _format_date(written)
        except ResolveError as error:
            return str(error)
    return None


def _render_text(text: str, variables: Mapping[str, Any]) -> Any:
    if "{{" not in text:
        return text
    parts = parse_template(text)
    if len(parts) == 1 and isinstance(parts[0], Variable):
        return _look_up(parts[0].name, variables)
    return _join(parts, variables)


def _join(parts: tuple[Part, ...], variables: Mapping[str, Any]) -> str:
    pieces = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(part)
        elif isinstance(part, Variable):
            pieces.append(_as_text(_look_up(part.name, variables)))
        else:
            pieces.append(_format_date(_join(part.parts, variables)))
    return "".join(pieces)


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return near names only; a list would reveal the names in the environment."""
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _look_up(name: str, variables: Mapping[str, Any]) -> Any:
    if name in variables:
        return variables[name]
    value: Any = variables
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            if name in _PARTITION_NAMES:
                raise ResolveError(
                    f"'{{{{{name}}}}}' has no value in this run{_PARTITION_NAMES[name]}"
                )
            first, _, rest = name.partition(".")
            if first == "env":
                raise ResolveError(
                    f"the environment variable {rest!r}, which '{{{{{name}}}}}' asks for, is not "
                    f"set. Set it where the run is started.{_nearest(rest, os.environ)}"
                )
            close = [other for other in variables if str(other).startswith(f"{first}.")]
            hint = did_you_mean(name, close or variables)
            raise ResolveError(f"there is no variable '{{{{{name}}}}}' in this run.{hint}")
        value = value[part]
    return value


def _format_date(text: str) -> str:
    value, bar, fmt = text.partition("|")
    if not bar:
        raise ResolveError(
            "the section date has no format. Write '{{#date}}value|%Y-%m-%d{{/date}}'."
        )
    return _read_date(value.strip()).strftime(fmt.strip())


def _read_date(text: str) -> datetime:
    try:
        return read_time(text, _DATE_FORMATS)
    except ValueError:
        shown = text if len(text) <= 40 else text[:37] + "..."
        raise ResolveError(
            f"{shown!r} in the section date is not a date. Give one such as '2024-01-31' or "
            "'2024-01-31T06:00:00'."
        ) from None
