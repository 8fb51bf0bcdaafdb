"""A whole project from files: resources, loads, tasks, partitions, jobs and schedules."""

from loadsmith.project.build import build_definitions
from loadsmith.project.resources import resource_kind
from loadsmith.project.task_types import task_type
from loadsmith.project.tasks import Task, TaskContext, TaskResult

__all__ = [
    "Task",
    "TaskContext",
    "TaskResult",
    "build_definitions",
    "resource_kind",
    "task_type",
]
