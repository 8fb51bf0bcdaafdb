"""dlt loads as Dagster assets: one asset per table, safe to run twice.

The public names load on first use, so that `import loadsmith` costs next to nothing.
"""

from typing import TYPE_CHECKING

from loadsmith.lazy import names_on_first_use

__version__ = "0.1.0"

if TYPE_CHECKING:
    from loadsmith.assets.decorator import build_dlt_asset_specs, dlt_assets
    from loadsmith.assets.define.translator import DagsterDltTranslator, DltResourceTranslatorData
    from loadsmith.assets.moved import (
        META_KEY_PIPELINE,
        META_KEY_SOURCE,
        META_KEY_TRANSLATOR,
        DltEventIterator,
        DltEventType,
        DltLoad,
        dlt_load_of,
    )
    from loadsmith.assets.run.pipeline_resource import DltPipeline
    from loadsmith.assets.run.runner import DagsterDltResource
    from loadsmith.component.component import (
        DltComponentTranslator,
        DltLoadCollectionComponent,
    )
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

__all__ = [
    "META_KEY_PIPELINE",
    "META_KEY_SOURCE",
    "META_KEY_TRANSLATOR",
    "ConfigurableDltResource",
    "DagsterDltFactory",
    "DagsterDltResource",
    "DagsterDltTranslator",
    "DltComponentTranslator",
    "DltEventIterator",
    "DltEventType",
    "DltLoad",
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
    "dlt_load_of",
    "resource_kind",
    "task_type",
]

__getattr__ = names_on_first_use(__name__)


def __dir__() -> list[str]:
    return sorted(__all__)
