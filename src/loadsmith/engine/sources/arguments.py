"""Compare the arguments that a load gives to its source with those that the source takes."""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from dlt.extract import DltResource, DltSource

from loadsmith.engine.secrets import UNFILLED
from loadsmith.errors import did_you_mean
from loadsmith.model import SourceReference

_PLAIN: dict[Any, str] = {
    str: "text", bool: "true or false", int: "a whole number", float: "a number"
}  # fmt: skip


def argument_problems(factory: Any, reference: SourceReference) -> list[tuple[str | None, str]]:
    """Return what is wrong with the arguments of a source, each with the argument's name.

    The name is None where an argument is missing. Only types that YAML can write are compared, and
    values with a variable are left to the run.
    """
    if isinstance(factory, DltSource):
        return []
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return []
    what = f"source {reference.module!r}"
    problems: list[tuple[str | None, str]] = []
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    hints = _hints_of(factory)
    for name, value in reference.params.items():
        if value == UNFILLED:
            problems.append(
                (name, f"{what}: its argument {name!r} is still {UNFILLED!r}. Fill it in.")
            )
        elif name in parameters:
            wanted = _wanted(value, hints.get(name, parameters[name].annotation))
            if wanted:
                text = f"{what}: its argument {name!r} takes {wanted}, not {_shown(value)}."
                problems.append((name, text))
        elif not takes_any:
            hint = did_you_mean(name, parameters) or " It takes none at all."
            problems.append((name, f"{what}: it takes no argument {name!r}.{hint}"))
    if not isinstance(factory, DltResource):
        for name in _required(parameters):
            if name not in reference.params:
                text = f"{what}: its argument {name!r} is missing. Add it to `source_params`."
                problems.append((None, text))
    return problems


def _required(parameters: Mapping[str, inspect.Parameter]) -> Iterator[str]:
    for name, parameter in parameters.items():
        is_named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if is_named and parameter.default is parameter.empty:
            yield name


def _hints_of(factory: Any) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(factory))
    except Exception:  # noqa: BLE001 - annotations may be any text
        return {}


def _wanted(value: Any, hint: Any) -> str | None:
    """Return what a parameter takes where a value is something else."""
    if _is_open(value) or hint is inspect.Parameter.empty:
        return None
    choices = [*_choices(hint)]
    if any(_fits(value, choice) for choice in choices):
        return None
    return " or ".join(dict.fromkeys(_named(choice) for choice in choices))


def _choices(hint: Any) -> Iterator[Any]:
    """Yield the types that a hint allows, without aliases and notes."""
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        yield from _choices(typing.get_args(hint)[0])
    elif origin in (typing.Union, types.UnionType):
        for choice in typing.get_args(hint):
            yield from _choices(choice)
    else:
        yield hint


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint) or hint
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is None or hint is type(None):
        return value is None
    if hint in _PLAIN:
        kinds = (int, float) if hint is float else (hint,)
        return isinstance(value, kinds) and (hint is bool or not isinstance(value, bool))
    if not isinstance(origin, type):
        return True
    if origin is dict:
        return isinstance(value, Mapping)
    if origin is list:
        items = [choice for item in typing.get_args(hint) for choice in _choices(item)]
        return isinstance(value, (list, tuple)) and all(
            not items or any(_fits(each, item) for item in items) or _is_open(each)
            for each in value
        )
    return True


def _is_open(value: Any) -> bool:
    """Tell whether a value has a variable, which only a run fills in."""
    return isinstance(value, str) and "{{" in value


def _named(hint: Any) -> str:
    origin = typing.get_origin(hint) or hint
    if origin is typing.Literal:
        return ", ".join(repr(choice) for choice in typing.get_args(hint))
    if origin is list:
        of = [_PLAIN.get(item) for item in typing.get_args(hint)]
        return f"a list of {of[0]}" if of and of[0] else "a list"
    if origin is dict:
        return "a mapping"
    return _PLAIN.get(hint) or ("nothing" if hint in (None, type(None)) else str(hint))


def _shown(value: Any) -> str:
    """Return the kind of a value; the value itself may be a secret."""
    if isinstance(value, Mapping):
        return "a mapping"
    kinds = {list: "a list", tuple: "a list", type(None): "nothing"}
    return kinds.get(type(value)) or _PLAIN.get(type(value)) or f"a {type(value).__name__}"
