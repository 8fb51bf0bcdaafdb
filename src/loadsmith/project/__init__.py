"""The front door of YAML files: build the definitions of a whole project."""

from loadsmith.project.build import build_definitions, build_runnable
from loadsmith.project.resources import resource_kind
from loadsmith.project.task_types import task_type
from loadsmith.project.tasks import Task, TaskContext, TaskResult

__all__ = [
    "Task",
    "TaskContext",
    "TaskResult",
    "build_definitions",
    "build_runnable",
    "resource_kind",
    "task_type",
]
