"""Turn the errors of pydantic into problems with file, line, column and advice."""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from loadsmith.config.settings import NoSuchField, is_unknown_field
from loadsmith.documents import Document, Node
from loadsmith.errors import Problem, did_you_mean

ModelT = TypeVar("ModelT", bound=BaseModel)

Path = tuple[str | int, ...]

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}
"""Words for pydantic's types of errors."""


def validate(
    model: type[ModelT], document: Document, path: Path = ()
) -> tuple[ModelT | None, list[Problem]]:
    """Validate the value at `path` as `model`.

    Returns:
        The model, or None and its problems.
    """
    node, _ = document.root.follow(path)
    try:
        return model.model_validate(node.plain()), []
    except ValidationError as error:
        return None, problems_of(error, model, document, path)


def problems_of(
    error: ValidationError, model: type[BaseModel], document: Document, path: Path = ()
) -> list[Problem]:
    """Return the errors of pydantic about the value at `path`, each at its own place."""
    root, _ = document.root.follow(path)
    expected: dict[Path, list[str]] = {}
    problems: list[Problem] = []
    inner: set[Path] = set()
    details = error.errors(include_url=False)
    misspelled = _misspelled(details, model)
    for detail in details:
        loc: Path = tuple(detail["loc"])
        if detail["type"] == "missing" and loc in misspelled:
            continue
        kind = detail["type"]
        inside = _in_data(root, loc, kind)
        node, _ = root.follow(inside)
        full = (*path, *inside)
        if kind in _EXPECTED:
            expected.setdefault(full, []).append(_EXPECTED[kind])
            continue
        inner.add(full)
        message = _describe(detail, model, loc, node.value)
        at_key = is_unknown_field(detail)
        problems.append(document.problem(message, *full, at_key=at_key))
    for full, wanted in expected.items():
        value = document.root.follow(full)[0].value
        below = inner | (expected.keys() - {full})
        if wanted == ["text"] and any(path[: len(full)] == full for path in below):
            # The mapping was tried as well, and its own mistakes are reported.
            continue
        name = full[-1] if full else "the file"
        words = " or ".join(dict.fromkeys(wanted))
        shown = f"`{name}`" if isinstance(name, str) and full else "this value"
        advice = " Put it into quotes." if words == "text" and _is_scalar(value) else ""
        message = f"{shown} takes {words}, not {_word_for(value)}."
        problems.append(document.problem(message + (advice or " Change it."), *full))
    return problems


def _in_data(root: Node, loc: Path, kind: str) -> Path:
    """Return the path in the file, without the names of union members that pydantic adds."""
    steps: list[str | int] = []
    for index, step in enumerate(loc):
        is_missing = kind == "missing" and index == len(loc) - 1
        if is_missing or not root.follow((*steps, step))[1]:
            steps.append(step)
    return tuple(steps)


def _misspelled(details: Iterable[Any], model: type[BaseModel]) -> set[Path]:
    """Return the missing fields that are present under a misspelled name."""
    fields: set[Path] = set()
    for detail in details:
        loc: Path = tuple(detail["loc"])
        if is_unknown_field(detail):
            close = get_close_matches(str(loc[-1]), _fields_at(model, loc[:-1]), n=1)
            fields.update((*loc[:-1], name) for name in close)
    return fields


def _number(value: float) -> str:
    return f"{value:g}"


def _describe(detail: Any, model: type[BaseModel], loc: Path, value: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    name = loc[-1] if loc else ""
    if kind == "extra_forbidden":
        return str(NoSuchField(str(name), _fields_at(model, loc[:-1])))
    if kind == "missing":
        field = _model_at(model, loc[:-1])
        text = field.model_fields[str(name)].description if field else None
        # The first clause defines the field; the rest would make the message too long.
        clause = re.split(r" \(|[;:.,] |\.$", text)[0] if text else ""
        return f"the field '{name}' is missing. Add it{f': {_lower(clause)}' if clause else ''}."
    if kind == "literal_error":
        choices = _choices(model, loc)
        shown = value if isinstance(value, str) and len(value) <= 40 else _word_for(value)
        hint = did_you_mean(str(value), choices) if isinstance(value, str) else ""
        return f"`{name}` cannot be {shown!r}.{hint or f' There is: {chr(44).join(choices)}.'}"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", detail["msg"]))
    if kind == "string_pattern_mismatch":
        return f"`{name}` takes letters, digits and '_' only. Change it."
    for bound, words in (("ge", "{} or more"), ("le", "{} or less"), ("gt", "more than {}")):
        if bound in context:
            return f"`{name}` takes {words.format(_number(context[bound]))}. Change it."
    message = str(detail["msg"])
    return f"`{name}`: {_lower(message)}. Change it." if name != "" else f"{_lower(message)}."


def _lower(text: str) -> str:
    return text if text.startswith(("Python", "dlt")) else text[:1].lower() + text[1:]


def _is_scalar(value: Any) -> bool:
    return value is not None and not isinstance(value, (Mapping, list))


def _word_for(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list) else "a date"


def _fields_at(model: type[BaseModel], loc: Path) -> list[str]:
    parent = _model_at(model, loc)
    return list(parent.model_fields) if parent else []


def _choices(model: type[BaseModel], loc: Path) -> list[str]:
    parent = _model_at(model, loc[:-1])
    if parent is None or loc[-1] not in parent.model_fields:
        return []
    annotation = parent.model_fields[str(loc[-1])].annotation
    return [
        str(choice)
        for option in _options(annotation)
        if get_origin(option) is Literal
        for choice in get_args(option)
    ]


def _model_at(model: type[BaseModel], loc: Path) -> type[BaseModel] | None:
    """Return the model that checks the value at `loc`, following fields, lists and mappings."""
    current: Any = model
    for step in loc:
        options = list(_options(current))
        member = next((option for option in options if _is_called(option, step)), None)
        if member is not None and len(options) > 1:
            current = member
            continue
        models = [option for option in options if _is_model(option)]
        if not models:
            current = _item_of(next(iter(options), None))
            continue
        known = next((option for option in models if step in option.model_fields), None)
        if known is None:
            return None
        current = known.model_fields[str(step)].annotation
    return next((option for option in _options(current) if _is_model(option)), None)


def _is_model(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, BaseModel)


def _is_called(option: Any, step: str | int) -> bool:
    """Return whether `step` names this member of a union, alone or with its validators."""
    name = getattr(option, "__name__", None)
    return name is not None and (step == name or str(step).endswith(f", {name}]"))


def _item_of(annotation: Any) -> Any:
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    return arguments[-1] if arguments else None


def _options(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            yield from _options(option)
    elif annotation is not NoneType:
        yield annotation
