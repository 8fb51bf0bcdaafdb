"""The register of task types: built in, decorated, or named by an import path."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from loadsmith.errors import ResolveError
from loadsmith.project.lookup import Register
from loadsmith.project.query import DuckDBQuery

C = TypeVar("C", bound=type)

_REGISTER = Register(noun="task type", built_in={"duckdb_query": DuckDBQuery}, method="run")


def task_type(name: str) -> Callable[[C], C]:
    """Register the decorated pydantic model as the task type `name`.

    The module must be imported before `build_definitions` is called; `task_type:
    my_package.tasks.MyTask` in the file needs no decorator and no import.

    Raises:
        ResolveError: The name is built in or holds a dot, or the class has no `run`.
    """
    return _REGISTER.decorate(name)


def task_types() -> list[str]:
    """Return the names of the registered task types; nothing is imported."""
    return _REGISTER.names()


def find_task_type(name: str, *, project_folder: Path) -> type[BaseModel]:
    """Return the pydantic model of `task_type: name` in a workflow file.

    Raises:
        ResolveError: There is no such class, or it is not a pydantic model.
    """
    cls = _REGISTER.find(name, project_folder=project_folder)
    if not issubclass(cls, BaseModel):
        raise ResolveError(
            f"task type {name!r}: {cls.__qualname__} is no pydantic model. Derive it from "
            "`loadsmith.Task` or `pydantic.BaseModel`."
        )
    return cls
