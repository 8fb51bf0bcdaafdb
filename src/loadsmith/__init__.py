"""dlt loads as Dagster assets: one asset per table, safe to run twice.

The public names load on first use, so that `import loadsmith` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from loadsmith.assets.decorator import build_dlt_asset_specs, dlt_assets
    from loadsmith.assets.define.translator import DagsterDltTranslator, DltResourceTranslatorData
    from loadsmith.assets.run.pipeline_resource import DltPipeline
    from loadsmith.assets.run.runner import DagsterDltResource
    from loadsmith.component.component import DltLoadCollectionComponent
    from loadsmith.component.load_spec import DltLoadSpecModel
    from loadsmith.factory import ConfigurableDltResource, DagsterDltFactory
    from loadsmith.project import (
        Task,
        TaskContext,
        TaskResult,
        build_definitions,
        resource_kind,
        task_type,
    )

_HOME = {
    "ConfigurableDltResource": "loadsmith.factory",
    "DagsterDltFactory": "loadsmith.factory",
    "DagsterDltResource": "loadsmith.assets.run.runner",
    "DagsterDltTranslator": "loadsmith.assets.define.translator",
    "DltLoadCollectionComponent": "loadsmith.component.component",
    "DltLoadSpecModel": "loadsmith.component.load_spec",
    "DltPipeline": "loadsmith.assets.run.pipeline_resource",
    "DltResourceTranslatorData": "loadsmith.assets.define.translator",
    "Task": "loadsmith.project",
    "TaskContext": "loadsmith.project",
    "TaskResult": "loadsmith.project",
    "build_definitions": "loadsmith.project",
    "build_dlt_asset_specs": "loadsmith.assets.decorator",
    "dlt_assets": "loadsmith.assets.decorator",
    "resource_kind": "loadsmith.project",
    "task_type": "loadsmith.project",
}

__all__ = [
    "ConfigurableDltResource",
    "DagsterDltFactory",
    "DagsterDltResource",
    "DagsterDltTranslator",
    "DltLoadCollectionComponent",
    "DltLoadSpecModel",
    "DltPipeline",
    "DltResourceTranslatorData",
    "Task",
    "TaskContext",
    "TaskResult",
    "__version__",
    "build_definitions",
    "build_dlt_asset_specs",
    "dlt_assets",
    "resource_kind",
    "task_type",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'loadsmith' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
