"""Render the templates of a `defs.yaml`, except those that wait for the run."""

import re
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster.components.resolved.errors import ResolutionException
from jinja2 import Environment, TemplateSyntaxError, meta
from pydantic import BaseModel

WAITING_FIELDS = frozenset({"source_params", "destination_params", "run_params", "profiles"})
"""Fields that are rendered in the run, because they may hold secrets or variables of a run.

The other fields decide which assets exist and their names, which must be known before a run.
"""

_RESOLVED_APART = ("source", "pipeline", "translation", "partitions_def", "backfill_policy")
_ENVIRONMENT = "env"
# `env('X')` means `env.X`; dg checks `requirements` by either form.
_CALL = re.compile(r"""\benv\(\s*['"](\w+)['"]\s*\)""")
_CALL_WITH_DEFAULT = re.compile(r"""\benv\(\s*['"](\w+)['"]\s*,""")
_JINJA = Environment(autoescape=False)  # noqa: S701 - nothing is rendered with it, only parsed


def resolve_entry(context: dg.ResolutionContext, entry: BaseModel) -> dict[str, Any]:
    """Return the fields that `entry` sets, rendered except for those that wait for the run."""
    return {
        name: resolve_waiting(context.at_path(name), given)
        if name in WAITING_FIELDS
        else _resolve(context.at_path(name), given)
        for name, given in entry.model_dump(exclude_unset=True).items()
        if name not in _RESOLVED_APART
    }


def resolve_waiting(context: dg.ResolutionContext, value: Any) -> Any:
    """Render the variables of the component, and leave those of the environment and the run.

    `{{ context.project_root }}` and the template variables of a project are rendered;
    `{{ env.TOKEN }}` is usually a secret and stays.

    Raises:
        ResolutionException: A variable of the environment has a default.
    """
    if isinstance(value, Mapping):
        return {name: resolve_waiting(context.at_path(name), v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve_waiting(context.at_path(index), v) for index, v in enumerate(value)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    value = _CALL.sub(r"env.\1", value)
    with_default = _CALL_WITH_DEFAULT.search(value)
    if with_default:
        raise fail_at(
            context,
            f"a default is not possible in a value that waits for the run: write "
            f"'{{{{ env.{with_default[1]} }}}}', and set the variable.",
        )
    names = _names_in(value)
    if names and _ENVIRONMENT not in names and names <= set(context.scope):
        return render(context, value)
    return value


def render(context: dg.ResolutionContext, value: Any) -> Any:
    """Return `value` with its templates rendered by Dagster.

    Raises:
        ResolutionException: A template cannot be rendered; the message names its place.
    """
    try:
        return context.resolve_value(value)
    except ResolutionException as error:
        if str(error).startswith(_file_of(context)):
            raise
        raise fail_at(context, str(error)) from error
    except Exception as error:
        # A template may hold any code.
        raise fail_at(context, f"{type(error).__name__}: {error}") from error


def _file_of(context: dg.ResolutionContext) -> str:
    tree = context.source_position_tree
    return f"{tree.position.filename}:" if tree else ""


def _names_in(text: str) -> set[str]:
    """Return the variables of a Jinja template; none for Mustache, such as a section."""
    try:
        return set(meta.find_undeclared_variables(_JINJA.parse(text)))
    except TemplateSyntaxError:
        return set()


class PlacedError(ResolutionException):
    """Dagster's error for a mistake at a place of a file.

    Attributes:
        message: The mistake, without the place and the lines around it.
        position: Its place.
    """

    def __init__(self, text: str, message: str, position: Any) -> None:
        super().__init__(text)
        self.message = message
        self.position = position


def fail_at(context: dg.ResolutionContext, message: str) -> ResolutionException:
    """Return Dagster's error for a mistake in a file, with the lines around it."""
    tree = context.source_position_tree
    if tree is None:
        return ResolutionException(message)
    source = tree.source_error(
        yaml_path=context.path, inline_error_message=message, value_error=True
    )
    return PlacedError(
        f"{source.file_name}:{source.start_line_no} - {source.location}\n{source.snippet}\n"
        f"{message}",
        message,
        tree.lookup_closest_and_path(context.path, trace=None)[0],
    )


def _resolve(context: dg.ResolutionContext, value: Any) -> Any:
    """Render the templates in `value`.

    Dagster would also evaluate text without a template, and return the number 1 for "1".
    """
    if isinstance(value, Mapping):
        return {name: _resolve(context.at_path(name), inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolve(context.at_path(index), inner) for index, inner in enumerate(value)]
    return render(context, value) if isinstance(value, str) and "{{" in value else value
